//! Reads what the metrics say, in OpenMetrics and in Prometheus' own text format.

use std::collections::BTreeMap;

/// The metrics of one scrape.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// Each family as its `TYPE` line names it, with its type.
    pub(crate) types: BTreeMap<String, String>,
    /// Each family with its `HELP`.
    pub(crate) help: BTreeMap<String, String>,
    pub(crate) samples: Vec<Sample>,
    /// Whether it ends as OpenMetrics must.
    pub(crate) is_ended: bool,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Exposition {
    pub(crate) fn read(text: &str) -> Self {
        let mut exposition = Self::default();
        for line in text.lines() {
            assert!(!exposition.is_ended, "after the end: {line}");
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(exposition.types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                exposition.help.insert(name.to_owned(), help.to_owned());
            } else if line == "# EOF" {
                exposition.is_ended = true;
            } else if !line.starts_with('#') {
                exposition.samples.push(sample(line));
            }
        }
        exposition
    }

    /// The samples of this name that have these labels.
    pub(crate) fn of<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let has = |(label, value): &(&str, &str)| {
                sample.labels.get(*label).is_some_and(|found| found.as_str() == *value)
            };
            sample.name == name && labels.iter().all(has)
        })
    }

    /// Adds the values of the lines that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|sample| sample.value).sum()
    }

    /// How many series each family has, each bucket counted.
    pub(crate) fn series(&self) -> BTreeMap<&str, usize> {
        let mut series = BTreeMap::new();
        for sample in &self.samples {
            *series.entry(self.family_of(&sample.name)).or_default() += 1;
        }
        series
    }

    /// The family that a sample belongs to.
    pub(crate) fn family_of<'a>(&'a self, name: &'a str) -> &'a str {
        let ends = ["", "_total", "_bucket", "_sum", "_count"];
        ends.iter()
            .filter_map(|end| name.strip_suffix(end))
            .find(|family| self.types.contains_key(*family))
            .unwrap_or_else(|| panic!("{name} is of no family"))
    }
}

fn sample(line: &str) -> Sample {
    let Some((name, mut rest)) = line.split_once('{') else {
        let (name, value) = line.split_once(' ').unwrap();
        return Sample { name: name.to_owned(), labels: BTreeMap::new(), value: value.parse().unwrap() };
    };
    let mut labels = BTreeMap::new();
    loop {
        let (label, behind) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        let mut value = String::new();
        let mut signs = behind.char_indices();
        let end = loop {
            match signs.next().unwrap() {
                (_, '\\') => value.push(signs.next().unwrap().1),
                (at, '"') => break at,
                (_, sign) => value.push(sign),
            }
        };
        assert!(labels.insert(label.to_owned(), value).is_none(), "a label twice: {line}");
        rest = &behind[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    let value = rest.strip_prefix("} ").unwrap_or_else(|| panic!("{line}"));
    Sample { name: name.to_owned(), labels, value: value.parse().unwrap() }
}
