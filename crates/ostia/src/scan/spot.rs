use super::link::Instead;

/// Where a value stands in an API, as far as the API lets it name something that the backend fetches (a URL) or stores
/// (an id). Everything else is [`Spot::Elsewhere`]: text, schemas, arguments of tools, whatever their members are
/// called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    Elsewhere,
    /// Messages and their parts.
    Content,
    /// The same, where an element may also name a stored one.
    Items,
    /// What holds a file or an image.
    Media,
    /// The same, or the file itself.
    Part,
    /// The same, where an id names a stored one.
    File,
    /// A URL, or an object that holds one.
    Url,
    /// A URL of a message's part. It counts if the part is one of media.
    PartUrl,
    /// An id of a file in a message's part. It counts unless the part is what a tool has made.
    PartFileId,
    /// What kind of part it is.
    Kind,
    /// What kind of data a source holds.
    SourceKind,
    /// A URL or the data itself in base64, or an object that holds one.
    Source,
    /// The data itself, as text too; or a URL.
    Data,
    /// A message's audio.
    Audio,
    /// How speech shall sound.
    Speech,
    Voice,
    Tools,
    /// A container that code runs in: its id, or an object that may name what goes into it.
    Container,
    /// The id of a stored prompt, with values for it.
    StoredPrompt,
    PromptValues,
    McpServers,
    /// Per tool, what the tool may use.
    ToolResources,
    FileId,
    VectorStoreIds,
    ContainerId,
    SkillId,
    PromptId,
    AudioId,
    VoiceId,
}

impl Spot {
    /// The spot of a member, whose name is in lower case, of an object at this one.
    pub(super) fn member(self, name: &[u8]) -> Self {
        match self {
            Self::Elsewhere => Self::Elsewhere,
            Self::Content | Self::Items => match name {
                b"type" => Self::Kind,
                b"url" | b"path" => Self::PartUrl,
                b"file_id" => Self::PartFileId,
                _ => Self::in_content(name),
            },
            Self::File if name == b"id" => Self::FileId,
            Self::Media if name == b"type" => Self::SourceKind,
            Self::Media
            | Self::Part
            | Self::File
            | Self::Url
            | Self::PartUrl
            | Self::Source
            | Self::Data => match name {
                b"url" => Self::Url,
                b"data" => Self::Data,
                _ => Self::in_content(name),
            },
            Self::Audio => match name {
                b"id" => Self::AudioId,
                b"url" => Self::Url,
                b"data" => Self::Data,
                _ => Self::Elsewhere,
            },
            Self::Speech if name == b"voice" => Self::Voice,
            Self::Voice if name == b"id" => Self::VoiceId,
            Self::Tools => match name {
                b"tools" => Self::Tools,
                b"container" | b"environment" => Self::Container,
                b"input_image_mask" => Self::Media,
                b"server_url" => Self::Url,
                _ => Self::id(name),
            },
            Self::Container => match name {
                b"id" => Self::ContainerId,
                b"skills" => Self::Container,
                _ => Self::id(name),
            },
            Self::StoredPrompt => match name {
                b"id" => Self::PromptId,
                b"variables" => Self::PromptValues,
                _ => Self::Elsewhere,
            },
            Self::PromptValues => Self::Content,
            Self::McpServers if name == b"url" => Self::Url,
            Self::ToolResources => match name {
                b"file_search" | b"code_interpreter" | b"vector_stores" => Self::ToolResources,
                _ => Self::id(name),
            },
            _ => Self::Elsewhere,
        }
    }

    /// That of a form's field, whose name is in lower case.
    pub(super) fn of_part(name: &[u8]) -> Self {
        match name {
            b"url" => Self::Url,
            b"file" | b"mask" => Self::Source,
            _ => Self::in_content(name),
        }
    }

    fn in_content(name: &[u8]) -> Self {
        match name {
            b"content" | b"output" | b"attachments" | b"multi_modal_data" => Self::Content,
            b"source" | b"document" => Self::Media,
            b"file" => Self::File,
            b"image_file" | b"input_audio" | b"input_image" | b"input_video" | b"input_file"
            | b"inline_data" | b"inlinedata" => Self::Part,
            b"image_url" | b"video_url" | b"audio_url" | b"document_url" | b"file_url"
            | b"pdf_url" | b"media_url" | b"image_uri" | b"video_uri" | b"audio_uri"
            | b"file_uri" | b"fileuri" => Self::Url,
            b"image" | b"images" | b"video" | b"videos" | b"image_data" | b"video_data"
            | b"audio_data" => Self::Source,
            b"file_data" => Self::Data,
            b"audio" => Self::Audio,
            b"environment" => Self::Container,
            _ => Self::id(name),
        }
    }

    fn id(name: &[u8]) -> Self {
        match name {
            b"file_id" | b"file_ids" => Self::FileId,
            b"vector_store_ids" => Self::VectorStoreIds,
            b"container_id" => Self::ContainerId,
            b"skill_id" => Self::SkillId,
            _ => Self::Elsewhere,
        }
    }

    /// Whether an object here is a message or a part of one.
    pub(super) fn is_part(self) -> bool {
        matches!(self, Self::Content | Self::Items)
    }

    /// Whether something that a backend may fetch stands here.
    pub(super) fn is_link(self) -> bool {
        matches!(
            self,
            Self::Url | Self::Source | Self::Data | Self::Part | Self::File
        )
    }

    /// What may stand here in place of a URL.
    pub(super) fn instead(self) -> Instead {
        match self {
            Self::Source => Instead::Base64,
            Self::Data | Self::Part | Self::File => Instead::Text,
            _ => Instead::Nothing,
        }
    }

    /// What a string here refers to, as callers know it.
    pub(super) fn reference(self) -> Option<&'static str> {
        Some(match self {
            Self::FileId | Self::PartFileId => "file_id",
            Self::VectorStoreIds => "vector_store_ids",
            Self::Container | Self::ContainerId => "container",
            Self::SkillId => "skill_id",
            Self::PromptId => "prompt",
            Self::AudioId => "audio.id",
            Self::VoiceId => "voice.id",
            _ => return None,
        })
    }
}
