//! Any JSON, out of the keys and texts that matter, and written in any way it may be.

use proptest::prelude::*;

use crate::reference::Tree;

/// Of these keys and texts, and a few others.
pub(crate) fn trees(
    keys: &'static [&'static str],
    texts: &'static [&'static str],
) -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        1 => Just(Tree::Other),
        6 => proptest::sample::select(texts).prop_map(|text| Tree::Text(text.to_owned())),
        1 => any::<String>().prop_map(Tree::Text),
    ];
    leaf.prop_recursive(8, 60, 6, move |inner| {
        let key = prop_oneof![
            8 => proptest::sample::select(keys).prop_map(str::to_owned),
            1 => any::<String>(),
        ];
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..5).prop_map(Tree::Array),
            3 => proptest::collection::vec((key, inner), 0..6).prop_map(Tree::Object),
        ]
    })
}

/// Writes a tree down with white space and escapes as the noise has it.
pub(crate) fn written(tree: &Tree, noise: &mut impl Iterator<Item = u8>, out: &mut String) {
    let space = |noise: &mut dyn Iterator<Item = u8>, out: &mut String| match noise.next() {
        Some(0) => out.push_str("\r\n  "),
        Some(1) => out.push('\t'),
        _ => {}
    };
    let string = |text: &str, noise: &mut dyn Iterator<Item = u8>, out: &mut String| {
        out.push('"');
        for character in text.chars() {
            match (character, noise.next()) {
                ('/', Some(0..=1)) => out.push_str("\\/"),
                (_, Some(2)) if u32::from(character) < 0x10000 => {
                    out.extend([format!("\\u{:04X}", u32::from(character))]);
                }
                ('"' | '\\', _) => out.extend(['\\', character]),
                (control, _) if control.is_control() => {
                    out.extend([format!("\\u{:04x}", u32::from(control))]);
                }
                _ => out.push(character),
            }
        }
        out.push('"');
    };
    space(noise, out);
    match tree {
        Tree::Other => out.push_str("-1.5e3"),
        Tree::Text(text) => string(text, noise, out),
        Tree::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                written(element, noise, out);
            }
            space(noise, out);
            out.push(']');
        }
        Tree::Object(members) => {
            out.push('{');
            for (at, (key, value)) in members.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                space(noise, out);
                string(key, noise, out);
                space(noise, out);
                out.push(':');
                written(value, noise, out);
            }
            space(noise, out);
            out.push('}');
        }
    }
    space(noise, out);
}
