//! How a family of series is written down: its name, its words of help, its type, and each series with its labels.

use prometheus_client::{
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet,
    },
    metrics::MetricType,
    registry::Unit,
};
use std::fmt;
use usage::Histogram;

/// The labels of a series without any.
pub(super) const NO_LABELS: [(&str, &str); 0] = [];

/// What stands in a label for a name that is empty: there was none.
pub(super) const NONE: &str = "none";

/// Returns a name as a label's value.
pub(super) fn name_or_none(name: &str) -> &str {
    if name.is_empty() { NONE } else { name }
}

/// Writes metric families one after another.
pub(super) struct Families<'a>(pub(super) DescriptorEncoder<'a>);

/// How a family is called. Of counters without `_total`, of all without the unit, which are added.
#[derive(Clone, Copy)]
pub(super) struct Title<'a> {
    name: &'static str,
    unit: Option<&'a Unit>,
    help: &'static str,
}

impl Title<'static> {
    /// Without a unit.
    pub(super) fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, unit: None, help }
    }

    /// Describes a family whose unit is seconds.
    pub(super) fn seconds(name: &'static str, help: &'static str) -> Self {
        Self { name, unit: Some(&Unit::Seconds), help }
    }

    /// Describes a family whose unit is bytes.
    pub(super) fn bytes(name: &'static str, help: &'static str) -> Self {
        Self { name, unit: Some(&Unit::Bytes), help }
    }
}

impl Families<'_> {
    /// Writes a family of counters.
    pub(super) fn counters<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        title: Title<'_>,
        series: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.begin(title, MetricType::Counter)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    /// Writes a family of gauges.
    pub(super) fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        title: Title<'_>,
        series: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.begin(title, MetricType::Gauge)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Writes a family of histograms.
    pub(super) fn histograms<'h, L: EncodeLabelSet>(
        &mut self,
        title: Title<'_>,
        series: impl IntoIterator<Item = (L, &'h Histogram)>,
    ) -> fmt::Result {
        let mut family = self.begin(title, MetricType::Histogram)?;
        for (labels, histogram) in series {
            let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
            let mut encoder = family.encode_family(&labels)?;
            encoder.encode_histogram::<NoLabelSet>(histogram.sum_s(), histogram.total(), &buckets, None)?;
        }
        Ok(())
    }

    fn begin<'s>(
        &'s mut self,
        title: Title<'s>,
        metric_type: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(title.name, title.help, title.unit, metric_type)
    }
}
