//! What a content block shows, wherever it stands: texts, pictures and documents in a message, in a tool's result or in a
//! document. Blocks that mean more than what they show (calls, results, thoughts) are `history`'s.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::place::FieldPlace;
use super::wire::{WireBlock, WireSource};
use crate::error::TranslationError;
use crate::media::{Media, USUAL_FILE, USUAL_IMAGE};

/// A text or a piece of media, in the order of the blocks.
#[derive(Debug)]
pub(super) enum ShownPiece<'a> {
    Text(Cow<'a, str>),
    Media(Media<'a>),
}

/// What stands for the text of a result that is nothing but media.
const ATTACHED: &str = "(attached)";

/// Reads a list of blocks. Only if one of them cannot be read, each is read by itself, to name it.
pub(super) fn blocks<'a>(
    value: &'a RawValue,
    at: &FieldPlace<'_>,
) -> Result<Vec<WireBlock<'a>>, TranslationError> {
    if let Some(blocks) = objects(value) {
        return Ok(blocks);
    }
    let list = at.list(value)?;
    list.into_iter().enumerate().map(|(place, block)| at.index(place).object(block)).collect()
}

fn objects<'a>(value: &'a RawValue) -> Option<Vec<WireBlock<'a>>> {
    // A list in place of an object would be read member by member.
    let blocks: Vec<WireBlock<'a>> = serde_json::from_str(value.get()).ok()?;
    blocks.iter().all(|block| block.r#type.is_some_and(|kind| kind.get().starts_with('"'))).then_some(blocks)
}

/// Returns a block's `type`.
pub(super) fn kind_of<'a>(
    block: &WireBlock<'a>,
    at: &FieldPlace<'_>,
) -> Result<Cow<'a, str>, TranslationError> {
    let at = at.member("type");
    at.text(at.required(block.r#type)?)
}

/// What stands where a string or blocks may: a message's content, a result's, a document's.
pub(super) enum MessageContent<'a> {
    Text(Cow<'a, str>),
    Blocks(Vec<WireBlock<'a>>),
}

impl<'a> MessageContent<'a> {
    /// Reads `content`, or anything that is a string or blocks.
    pub(super) fn read(value: &'a RawValue, at: &FieldPlace<'_>) -> Result<Self, TranslationError> {
        if value.get().starts_with('"') {
            return at.text(value).map(Self::Text);
        }
        if !value.get().starts_with('[') {
            return Err(at.invalid("has to be a string or a list of blocks"));
        }
        blocks(value, at).map(Self::Blocks)
    }
}

/// Adds what a block shows to `into`. `false` if it is of a kind that shows nothing by itself.
pub(super) fn show<'a>(
    kind: &str,
    block: &WireBlock<'a>,
    at: &FieldPlace<'_>,
    into: &mut Vec<ShownPiece<'a>>,
) -> Result<bool, TranslationError> {
    match kind {
        "text" => {
            let at = at.member("text");
            into.push(ShownPiece::Text(at.text(at.required(block.text)?)?));
        }
        "image" => into.push(ShownPiece::Media(image(block, at)?)),
        "document" => document(block, at, into)?,
        "search_result" => into.push(ShownPiece::Text(search_result(block, at)?.into())),
        // All tools are declared from the start, deferred ones included.
        "tool_reference" => {
            let at = at.member("tool_name");
            let name = at.text(at.required(block.tool_name)?)?;
            into.push(ShownPiece::Text(format!("The tool `{name}` can be called.").into()));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads `content` of a tool's result: its text, and its media.
pub(super) fn of_result<'a>(
    content: Option<&'a RawValue>,
    at: &FieldPlace<'_>,
) -> Result<(Cow<'a, str>, Vec<Media<'a>>), TranslationError> {
    let Some(content) = content else { return Ok((Cow::Borrowed(""), Vec::new())) };
    let blocks = match MessageContent::read(content, at)? {
        MessageContent::Text(text) => return Ok((text, Vec::new())),
        MessageContent::Blocks(blocks) => blocks,
    };
    let mut shown = Vec::with_capacity(blocks.len());
    for (place, block) in blocks.iter().enumerate() {
        let at = at.index(place);
        let kind = kind_of(block, &at)?;
        if !show(&kind, block, &at, &mut shown)? {
            return Err(at.member("type").unsupported(format!("`{kind}` is not served in a tool's result")));
        }
    }
    let mut text = Cow::Borrowed("");
    let mut media = Vec::new();
    for piece in shown {
        match piece {
            ShownPiece::Text(more) if text.is_empty() => text = more,
            ShownPiece::Text(more) if more.is_empty() => {}
            ShownPiece::Text(more) => text.to_mut().extend(["\n", &more]),
            ShownPiece::Media(piece) => media.push(piece),
        }
    }
    if text.is_empty() && !media.is_empty() {
        text = Cow::Borrowed(ATTACHED);
    }
    Ok((text, media))
}

fn source_of<'a>(
    block: &WireBlock<'a>,
    at: &FieldPlace<'_>,
) -> Result<(Cow<'a, str>, WireSource<'a>), TranslationError> {
    let source: WireSource<'_> = at.object(at.required(block.source)?)?;
    let at = at.member("type");
    let kind = at.text(at.required(source.r#type)?)?;
    Ok((kind, source))
}

fn image<'a>(block: &WireBlock<'a>, at: &FieldPlace<'_>) -> Result<Media<'a>, TranslationError> {
    let at = at.member("source");
    let (kind, source) = source_of(block, &at)?;
    match &*kind {
        "base64" => inline(&source, &at),
        "url" => fetched(&source, &at, USUAL_IMAGE),
        _ => Err(unknown_source(&kind, &at)),
    }
}

fn document<'a>(
    block: &WireBlock<'a>,
    at: &FieldPlace<'_>,
    into: &mut Vec<ShownPiece<'a>>,
) -> Result<(), TranslationError> {
    for (name, value) in [("title", block.title), ("context", block.context)] {
        let text = at.member(name).text_or_empty(value)?;
        if !text.is_empty() {
            into.push(ShownPiece::Text(text));
        }
    }
    let at = at.member("source");
    let (kind, source) = source_of(block, &at)?;
    match &*kind {
        "base64" => into.push(ShownPiece::Media(inline(&source, &at)?)),
        // Anthropic takes a PDF at any address.
        "url" => into.push(ShownPiece::Media(fetched(&source, &at, USUAL_FILE)?)),
        "text" => {
            let at = at.member("data");
            into.push(ShownPiece::Text(at.text(at.required(source.data)?)?));
        }
        "content" => {
            let at = at.member("content");
            match MessageContent::read(at.required(source.content)?, &at)? {
                MessageContent::Text(text) => into.push(ShownPiece::Text(text)),
                MessageContent::Blocks(blocks) => {
                    for (place, block) in blocks.iter().enumerate() {
                        let at = at.index(place);
                        let kind = kind_of(block, &at)?;
                        if !matches!(&*kind, "text" | "image") || !show(&kind, block, &at, into)? {
                            let why = format!("`{kind}` is not served in a document");
                            return Err(at.member("type").unsupported(why));
                        }
                    }
                }
            }
        }
        _ => return Err(unknown_source(&kind, &at)),
    }
    Ok(())
}

fn inline<'a>(source: &WireSource<'a>, at: &FieldPlace<'_>) -> Result<Media<'a>, TranslationError> {
    let (at_type, at_data) = (at.member("media_type"), at.member("data"));
    let mime_type = at_type.text(at_type.required(source.media_type)?)?;
    let base64 = at_data.text(at_data.required(source.data)?)?;
    if !mime_type.contains('/') {
        return Err(at_type.invalid("has to be a media type, as `image/png`"));
    }
    if base64.is_empty() {
        return Err(at_data.invalid("is empty"));
    }
    Ok(Media::Inline { mime_type, base64 })
}

/// Media at an address, of the type that its ending says, else of `usual`.
fn fetched<'a>(
    source: &WireSource<'a>,
    at: &FieldPlace<'_>,
    usual: &'static str,
) -> Result<Media<'a>, TranslationError> {
    let at = at.member("url");
    let url = at.text(at.required(source.url)?)?;
    Media::of_url_or(url, None, usual).map_err(|error| at.invalid(error.why()))
}

fn unknown_source(kind: &str, at: &FieldPlace<'_>) -> TranslationError {
    at.member("type").unsupported(match kind {
        "file" => "files of Anthropic's are not kept here; send the content itself".to_owned(),
        _ => format!("`{kind}` is not served as a source"),
    })
}

/// The text of a search result: its title and source, then what it says.
fn search_result(block: &WireBlock<'_>, at: &FieldPlace<'_>) -> Result<String, TranslationError> {
    let mut text = String::new();
    for (name, value) in [("title", block.title), ("source", block.source)] {
        let line = at.member(name).text_or_empty(value)?;
        if !line.is_empty() {
            text.extend([&line, "\n"]);
        }
    }
    let at = at.member("content");
    match MessageContent::read(at.required(block.content)?, &at)? {
        MessageContent::Text(said) => text.push_str(&said),
        MessageContent::Blocks(blocks) => {
            for (place, block) in blocks.iter().enumerate() {
                if place > 0 {
                    text.push('\n');
                }
                text.push_str(&text_of(block, &at.index(place))?);
            }
        }
    }
    Ok(text)
}

/// Reads a block that has to be a text.
pub(super) fn text_of<'a>(
    block: &WireBlock<'a>,
    at: &FieldPlace<'_>,
) -> Result<Cow<'a, str>, TranslationError> {
    let kind = kind_of(block, at)?;
    if kind != "text" {
        return Err(at.member("type").unsupported(format!("`{kind}` is not served here, only `text`")));
    }
    let at = at.member("text");
    at.text(at.required(block.text)?)
}
