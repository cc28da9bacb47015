//! What a message or a tool's output says: a string, or a list of parts. Texts and media come out; what Google cannot
//! take is refused by name. Called by `items`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::reader::{FieldWay, ObjectReader, objects_of};
use crate::error::TranslationError;
use crate::json::as_str;
use crate::media::{Media, USUAL_FILE, USUAL_IMAGE, mime_type_of};

/// One piece of a content.
#[derive(Debug)]
pub(super) enum ContentPiece<'a> {
    /// Text of whichever kind: asked, answered, refused.
    Text(Cow<'a, str>),
    /// An image, a file or a sound.
    Media(Media<'a>),
}

/// Reads a content into `take`, piece by piece.
pub(super) fn read_content<'a>(
    content: &'a RawValue,
    way: FieldWay<'_>,
    mut take: impl FnMut(ContentPiece<'a>),
) -> Result<(), TranslationError> {
    if let Some(text) = as_str(content) {
        take(ContentPiece::Text(text.into_inner()));
        return Ok(());
    }
    for (index, part) in objects_of(content, way)?.iter().enumerate() {
        take(read_part(ObjectReader::new(part, way.index(index)))?);
    }
    Ok(())
}

fn read_part<'a>(part: ObjectReader<'_, 'a, '_>) -> Result<ContentPiece<'a>, TranslationError> {
    let kind = part.required_text("type")?;
    match &*kind {
        "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => {
            Ok(ContentPiece::Text(part.required_text("text")?))
        }
        "refusal" => Ok(ContentPiece::Text(part.required_text("refusal")?)),
        "input_image" => image(part).map(ContentPiece::Media),
        "input_file" => file(part).map(ContentPiece::Media),
        "input_audio" => audio(part).map(ContentPiece::Media),
        other => Err(part.invalid("type", format!("`{other}` is no kind of content that is known here"))),
    }
}

fn image<'a>(part: ObjectReader<'_, 'a, '_>) -> Result<Media<'a>, TranslationError> {
    if let Some(url) = part.text("image_url")? {
        let media = Media::of_url_or(url, None, USUAL_IMAGE);
        return media.map_err(|error| part.invalid("image_url", error.why()));
    }
    refuse_file_id(part)?;
    Err(part.invalid("image_url", "is required"))
}

fn file<'a>(part: ObjectReader<'_, 'a, '_>) -> Result<Media<'a>, TranslationError> {
    let name = part.text("filename")?;
    let by_name = name.as_deref().and_then(mime_type_of).map(Cow::Borrowed);
    if let Some(content) = part.text("file_data")? {
        if content.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:")) {
            return Media::of_url(content, by_name).map_err(|error| part.invalid("file_data", error.why()));
        }
        // OpenAI takes bare base64 too; its files are PDFs unless their name says otherwise.
        if content.is_empty() {
            return Err(part.invalid("file_data", "must not be empty"));
        }
        let mime_type = match by_name {
            Some(mime_type) => mime_type,
            None if name.as_deref().is_some_and(|name| name.contains('.')) => {
                let why = "has an ending that is not known here; send a data URL, which says the type";
                return Err(part.invalid("filename", why));
            }
            None => USUAL_FILE.into(),
        };
        return Ok(Media::Inline { mime_type, base64: content });
    }
    if let Some(url) = part.text("file_url")? {
        let media = Media::of_url_or(url, by_name, USUAL_FILE);
        return media.map_err(|error| part.invalid("file_url", error.why()));
    }
    refuse_file_id(part)?;
    Err(part.invalid("file_data", "is required, or `file_url`"))
}

fn audio<'a>(part: ObjectReader<'_, 'a, '_>) -> Result<Media<'a>, TranslationError> {
    let sound = part.object("input_audio")?.ok_or_else(|| part.invalid("input_audio", "is required"))?;
    let sound = ObjectReader::new(&sound, part.way.member("input_audio"));
    let format = sound.required_text("format")?;
    let mime_type = mime_type_of(&format!(".{format}")).filter(|mime_type| mime_type.starts_with("audio/"));
    let mime_type =
        mime_type.ok_or_else(|| sound.invalid("format", "is no format of sound that is known here"))?;
    Ok(Media::Inline { mime_type: mime_type.into(), base64: sound.filled_text("data")? })
}

fn refuse_file_id(part: ObjectReader<'_, '_, '_>) -> Result<(), TranslationError> {
    match part.raw("file_id") {
        Some(_) => Err(part.unsupported(
            "file_id",
            "names a file of another service's; send the file inline in base64 or by an https address",
        )),
        None => Ok(()),
    }
}
