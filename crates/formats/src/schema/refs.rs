//! `$ref`s in a schema: those to `#/$defs/NAME` may stay if they resolve and nothing stands beside them but what begins with
//! `$`, which is all that Google takes there; the others are written out, and where one points elsewhere than to `$defs`, all. What does not resolve, and what would close a cycle, goes ("reference to undefined schema" fails a whole
//! request). Only [`super`] calls it, for schemas that have a `$ref`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_json::value::RawValue;

use crate::json::{JsonStr, RawObject, as_str};

/// Schemas nested deeper are passed on as they are.
const MAX_DEPTH: usize = 64;

/// How deep written-out references may nest, and how much they may make of a schema; what goes beyond is any value.
const MAX_WRITTEN_DEPTH: usize = 96;
const MAX_WRITTEN_BYTES: usize = 256 * 1024;

/// How many references are followed: a schema with more is no tool's. The others count as leading nowhere.
const MAX_REFERENCES: usize = 2_000;

const REF: &str = "$ref";
const DEFS: &str = "$defs";

/// A schema taken apart as far as there are schemas in it.
enum SchemaNode<'a> {
    /// A schema: its keywords.
    Keywords(Vec<(JsonStr<'a>, SchemaNode<'a>)>),
    /// Schemas by name: `properties`, `$defs`.
    Map(Vec<(JsonStr<'a>, SchemaNode<'a>)>),
    /// A list of schemas: `anyOf`.
    List(Vec<SchemaNode<'a>>),
    /// Anything else, in which a `$ref` is none.
    Plain(&'a RawValue),
}

/// What a keyword's value holds.
#[derive(Clone, Copy)]
enum Holds {
    Schema,
    Map,
    Nothing,
}

/// The keywords of drafts 4 to 2020-12 that hold schemas.
fn holds(keyword: &str) -> Holds {
    match keyword {
        // Of `dependencies` some may be lists of names, which hold no references.
        "properties" | "patternProperties" | DEFS | "definitions" | "dependentSchemas" | "dependencies" => {
            Holds::Map
        }
        // A schema, or a list of them.
        "items"
        | "additionalItems"
        | "prefixItems"
        | "contains"
        | "additionalProperties"
        | "propertyNames"
        | "contentSchema"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | "anyOf"
        | "oneOf"
        | "allOf"
        | "not"
        | "if"
        | "then"
        | "else" => Holds::Schema,
        _ => Holds::Nothing,
    }
}

impl<'a> SchemaNode<'a> {
    fn of(value: &'a RawValue, holds: Holds, depth: usize) -> Self {
        let plain = Self::Plain(value);
        if depth == MAX_DEPTH {
            return plain;
        }
        match (holds, value.get().as_bytes().first()) {
            (Holds::Schema, Some(b'{')) => RawObject::of(value).map_or(plain, |object| {
                let of = |(name, value): (JsonStr<'a>, &'a RawValue)| {
                    let node = Self::of(value, self::holds(&name), depth + 1);
                    (name, node)
                };
                Self::Keywords(object.0.into_iter().map(of).collect())
            }),
            (Holds::Map, Some(b'{')) => RawObject::of(value).map_or(plain, |object| {
                let of = |(name, value)| (name, Self::of(value, Holds::Schema, depth + 1));
                Self::Map(object.0.into_iter().map(of).collect())
            }),
            (Holds::Schema, Some(b'[')) => {
                serde_json::from_str::<Vec<&RawValue>>(value.get()).map_or(plain, |list| {
                    Self::List(
                        list.into_iter().map(|value| Self::of(value, Holds::Schema, depth + 1)).collect(),
                    )
                })
            }
            _ => plain,
        }
    }

    /// The value of `$ref`, if it is the keyword.
    fn reference(&self) -> Option<JsonStr<'a>> {
        let Self::Keywords(members) = self else { return None };
        members.iter().find(|(name, _)| &**name == REF).and_then(|(_, value)| match value {
            Self::Plain(raw) => as_str(raw),
            _ => None,
        })
    }

    /// Whether there is a `$ref`, and beside it what Google does not take beside one.
    fn is_reference_with_more(&self) -> bool {
        let Self::Keywords(members) = self else { return false };
        self.reference().is_some() && members.iter().any(|(name, _)| !name.starts_with('$'))
    }

    fn any(&self, is: &impl Fn(&Self) -> bool) -> bool {
        is(self) || self.children().any(|child| child.any(is))
    }

    fn children(&self) -> Box<dyn Iterator<Item = &SchemaNode<'a>> + '_> {
        match self {
            Self::Keywords(members) | Self::Map(members) => Box::new(members.iter().map(|(_, node)| node)),
            Self::List(list) => Box::new(list.iter()),
            Self::Plain(_) => Box::new(std::iter::empty()),
        }
    }

    fn child(&self, name: &str) -> Option<&SchemaNode<'a>> {
        match self {
            Self::Keywords(members) | Self::Map(members) => {
                members.iter().find(|(key, _)| &**key == name).map(|(_, node)| node)
            }
            Self::List(list) => list.get(name.parse::<usize>().ok()?),
            Self::Plain(_) => None,
        }
    }

    /// The schema that a reference within this one means.
    fn target(&self, reference: &str) -> Option<&SchemaNode<'a>> {
        let pointer = reference.strip_prefix('#')?;
        let mut node = self;
        if !pointer.is_empty() {
            for step in pointer.strip_prefix('/')?.split('/') {
                node = node.child(&unescaped(step))?;
            }
        }
        let is_schema = match node {
            SchemaNode::Keywords(_) => true,
            SchemaNode::Plain(raw) => matches!(raw.get(), "true" | "false"),
            _ => false,
        };
        is_schema.then_some(node)
    }
}

/// A step of a pointer as the name that it means: `~1` is a slash, and in a reference, a part of a URL, `%3C` is `<`.
fn unescaped(step: &str) -> Cow<'_, str> {
    let step =
        if step.contains('%') { decoded(step).map_or(Cow::Borrowed(step), Cow::Owned) } else { step.into() };
    if step.contains('~') { Cow::Owned(step.replace("~1", "/").replace("~0", "~")) } else { step }
}

fn decoded(step: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(step.len());
    let mut rest = step.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let hex = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The name in `#/$defs/NAME`, if it is written plainly.
fn definition(reference: &str) -> Option<&str> {
    reference.strip_prefix("#/$defs/").filter(|name| !name.contains(['/', '%']))
}

/// Returns the schema with references that all resolve and close no cycle; `None` if it is so already.
pub(super) fn resolve(schema: &RawValue) -> Option<Box<RawValue>> {
    let root = SchemaNode::of(schema, Holds::Schema, 0);
    let mut references = Vec::new();
    collect(&root, &mut references);
    if references.is_empty() {
        return None;
    }
    // Looked for once each, since the way there may be through thousands of members.
    let distinct: HashSet<&str> =
        references.iter().take(MAX_REFERENCES).map(|reference| &**reference).collect();
    let targets: HashMap<&str, &SchemaNode<'_>> =
        distinct.into_iter().filter_map(|reference| Some((reference, root.target(reference)?))).collect();
    // A root that is a reference has no properties of its own.
    let may_stay =
        root.reference().is_none() && targets.keys().all(|reference| definition(reference).is_some());
    let mut writer = Writer {
        root: &root,
        targets: &targets,
        out: String::with_capacity(schema.get().len()),
        active: Vec::new(),
        cut: None,
        within: None,
    };
    if may_stay {
        let cut = closing(&root);
        let all_resolve = references.iter().all(|reference| targets.contains_key(&**reference));
        if cut.is_empty() && all_resolve && !root.any(&SchemaNode::is_reference_with_more) {
            return None;
        }
        writer.cut = Some(cut);
    }
    writer.node(&root);
    RawValue::from_string(writer.out).ok()
}

fn collect<'a>(node: &SchemaNode<'a>, into: &mut Vec<JsonStr<'a>>) {
    into.extend(node.reference());
    for child in node.children() {
        collect(child, into);
    }
}

/// The references (from a definition, to a definition) that close a cycle: those to one that is on the way.
fn closing<'s>(root: &'s SchemaNode<'_>) -> HashSet<(&'s str, &'s str)> {
    #[derive(Clone, Copy, PartialEq)]
    enum Colour {
        OnTheWay,
        Done,
    }

    let mut closing = HashSet::new();
    let Some(SchemaNode::Map(definitions)) = root.child(DEFS) else { return closing };
    let edges: HashMap<&'s str, Vec<String>> = definitions
        .iter()
        .map(|(name, node)| {
            let mut references = Vec::new();
            collect(node, &mut references);
            let targets = references.iter().filter_map(|reference| definition(reference));
            (&**name, targets.map(|target| unescaped(target).into_owned()).collect())
        })
        .collect();
    let mut colours: HashMap<&'s str, Colour> = HashMap::new();
    for (start, _) in definitions {
        // Without recursion: there may be thousands of definitions in one chain.
        let mut way: Vec<(&'s str, usize)> = Vec::new();
        if !colours.contains_key(&**start) {
            colours.insert(start, Colour::OnTheWay);
            way.push((start, 0));
        }
        while let Some((name, next)) = way.last_mut() {
            let Some(target) = edges.get(name).and_then(|targets| targets.get(*next)) else {
                colours.insert(name, Colour::Done);
                way.pop();
                continue;
            };
            *next += 1;
            let Some((&target, _)) = edges.get_key_value(target.as_str()) else { continue };
            match colours.get(target) {
                Some(Colour::OnTheWay) => {
                    closing.insert((*name, target));
                }
                Some(Colour::Done) => {}
                None => {
                    colours.insert(target, Colour::OnTheWay);
                    way.push((target, 0));
                }
            }
        }
    }
    closing
}

/// Writes a schema down with its references resolved.
struct Writer<'s, 'a> {
    root: &'s SchemaNode<'a>,
    /// What each reference means; those that mean nothing are not in it.
    targets: &'s HashMap<&'s str, &'s SchemaNode<'a>>,
    out: String,
    /// The schemas that are being written: a reference to one of them would close a cycle.
    active: Vec<&'s SchemaNode<'a>>,
    /// The references that go (from a definition, to a definition), where others stay; `None` where all are written out.
    cut: Option<HashSet<(&'s str, &'s str)>>,
    /// The definition that is being written, or whose members are.
    within: Option<&'s str>,
}

impl<'s, 'a> Writer<'s, 'a> {
    fn node(&mut self, node: &'s SchemaNode<'a>) {
        match node {
            SchemaNode::Plain(raw) => self.out.push_str(raw.get()),
            SchemaNode::List(list) => {
                self.out.push('[');
                for (place, node) in list.iter().enumerate() {
                    self.comma(place);
                    self.node(node);
                }
                self.out.push(']');
            }
            SchemaNode::Map(members) => {
                self.out.push('{');
                for (place, (name, value)) in members.iter().enumerate() {
                    self.comma(place);
                    self.name(name);
                    self.node(value);
                }
                self.out.push('}');
            }
            SchemaNode::Keywords(_) if self.is_full() => self.out.push_str("{}"),
            SchemaNode::Keywords(_) if self.cut.is_some() && !node.is_reference_with_more() => {
                self.with_reference(node);
            }
            SchemaNode::Keywords(_) => self.written_out(node),
        }
    }

    fn is_full(&self) -> bool {
        let is_deep = self.active.len() >= MAX_WRITTEN_DEPTH;
        is_deep || !self.active.is_empty() && self.out.len() >= MAX_WRITTEN_BYTES
    }

    /// Returns what a reference means where it stands, unless that is nothing, or closes a cycle that is cut here.
    fn followed(&self, reference: &str) -> Option<&'s SchemaNode<'a>> {
        let target = self.targets.get(reference).copied()?;
        let closes = |(cut, within): (&HashSet<(&'s str, &'s str)>, &'s str)| {
            definition(reference).is_some_and(|name| cut.contains(&(within, &*unescaped(name))))
        };
        (!self.cut.as_ref().zip(self.within).is_some_and(closes)).then_some(target)
    }

    /// The definition that a reference names, as it is written in the schema.
    fn definition_of(&self, reference: &str) -> Option<&'s str> {
        let name = unescaped(definition(reference)?);
        let Some(SchemaNode::Map(definitions)) = self.root.child(DEFS) else { return None };
        definitions.iter().find(|(key, _)| **key == *name).map(|(key, _)| &**key)
    }

    /// A schema whose reference stays, if it resolves and closes no cycle.
    fn with_reference(&mut self, node: &'s SchemaNode<'a>) {
        let SchemaNode::Keywords(members) = node else { return };
        let stays = node.reference().is_some_and(|reference| self.followed(&reference).is_some());
        let is_root = std::ptr::eq(node, self.root);
        self.out.push('{');
        let mut count = 0;
        for (name, value) in members {
            if &**name == REF && node.reference().is_some() && !stays {
                continue;
            }
            self.comma(count);
            count += 1;
            self.name(name);
            match value {
                SchemaNode::Map(definitions) if is_root && &**name == DEFS => {
                    self.out.push('{');
                    for (place, (name, node)) in definitions.iter().enumerate() {
                        self.comma(place);
                        self.name(name);
                        self.within = Some(name);
                        self.node(node);
                    }
                    self.within = None;
                    self.out.push('}');
                }
                _ => self.node(value),
            }
        }
        self.out.push('}');
    }

    /// A schema in the place of whose reference its target stands. What stands beside a reference counts before it.
    fn written_out(&mut self, node: &'s SchemaNode<'a>) {
        let depth = self.active.len();
        let within = self.within;
        // Each with the definition that it is from.
        let mut merged: Vec<(&'s JsonStr<'a>, &'s SchemaNode<'a>, Option<&'s str>)> = Vec::new();
        let mut names: HashSet<&JsonStr<'a>> = HashSet::new();
        let mut plain = None;
        let mut next = Some(node);
        while let Some(node) = next.take() {
            let SchemaNode::Keywords(members) = node else {
                plain = Some(node);
                break;
            };
            self.active.push(node);
            let reference = node.reference();
            let mut from_here: Vec<_> = members
                .iter()
                .filter(|(name, _)| !matches!(&**name, DEFS | "definitions"))
                .filter(|(name, _)| reference.is_none() || &**name != REF)
                .filter(|(name, _)| names.insert(name))
                .map(|(name, value)| (name, value, self.within))
                .collect();
            from_here.append(&mut merged);
            merged = from_here;
            next = reference
                .as_ref()
                .and_then(|reference| self.followed(reference))
                .filter(|target| !self.active.iter().any(|active| std::ptr::eq(*active, *target)))
                .filter(|_| self.active.len() < MAX_WRITTEN_DEPTH);
            if let (Some(reference), true) = (reference, self.cut.is_some()) {
                self.within = self.definition_of(&reference);
            }
        }
        match plain {
            // A reference to `true` or `false`, with nothing beside it.
            Some(SchemaNode::Plain(raw)) if merged.is_empty() => self.out.push_str(raw.get()),
            _ => {
                self.out.push('{');
                for (place, (name, value, within)) in merged.into_iter().enumerate() {
                    self.comma(place);
                    self.name(name);
                    self.within = within;
                    self.node(value);
                }
                self.out.push('}');
            }
        }
        self.within = within;
        self.active.truncate(depth);
    }

    fn comma(&mut self, place: usize) {
        if place > 0 {
            self.out.push(',');
        }
    }

    fn name(&mut self, name: &str) {
        self.out.push_str(crate::json::raw_of(name).get());
        self.out.push(':');
    }
}
