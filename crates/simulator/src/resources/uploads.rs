//! The upload protocols: resumable in its present and its legacy form, multipart and raw. Bytes are counted and hashed as
//! they come; a chunk needs no key, for its session knows its project.

use std::sync::Mutex;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use url::form_urlencoded;

use super::command::Command;
use super::files::LARGEST;
use super::multipart::Multipart;
use crate::answer::{Answer, JSON};
use crate::auth::Credentials;
use crate::error::{ApiError, Frame};
use crate::inflow::Inflow;
use crate::route::Route;
use crate::route::Target;
use crate::world::{Announced, Intake, Session, UploadStage, World, lock};

/// Every chunk but the last is a multiple of this (recorded Jun 2025).
const GRANULARITY: u64 = 8_388_608;
/// Largest JSON at the start of an upload.
const METADATA_LIMIT: usize = 1024 * 1024;

/// A request below `/upload/`.
pub(crate) struct Upload<'a> {
    pub(crate) world: &'a World,
    pub(crate) route: &'a Route,
    pub(crate) target: &'a Target,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
    pub(crate) credentials: &'a Credentials,
    /// How errors are wrapped.
    pub(crate) frame: Frame,
    /// Scheme and authority by which the client came.
    pub(crate) origin: String,
}

/// What is asked for, once the headers are read.
enum Order {
    Start,
    Multipart(Multipart),
    Raw,
}

/// Why a chunk was not taken.
enum Failure {
    Refused(ApiError),
    /// The client went away.
    Left(hyper::Error),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::Left(error)
    }
}

impl Upload<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query?.as_bytes());
        pairs.find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }

    /// Answers the request, having read all of its body.
    ///
    /// # Errors
    /// When the client goes away.
    pub(crate) async fn answer(&self, inflow: &mut Inflow<'_>) -> Result<Answer, hyper::Error> {
        let answered = match self.parameter("upload_id") {
            Some(id) => self.go_on(&id, inflow).await,
            None => self.begin(inflow).await,
        };
        match answered {
            Ok(answer) => {
                inflow.drain().await?;
                Ok(answer)
            }
            Err(Failure::Left(error)) => Err(error),
            Err(Failure::Refused(error)) => {
                inflow.drain().await?;
                Ok(Answer::error(&error, self.frame))
            }
        }
    }

    async fn begin(&self, inflow: &mut Inflow<'_>) -> Result<Answer, Failure> {
        let key = self.credentials.admit(self.world, self.route)?;
        self.check_target(&key.project)?;
        let announced = Announced {
            project: key.project,
            target: self.target.clone(),
            metadata: Value::Null,
            mime_type: None,
            size: None,
        };
        match self.order()? {
            Order::Start => self.start(announced, inflow).await,
            Order::Multipart(multipart) => self.multipart(announced, multipart, inflow).await,
            Order::Raw => {
                let mut intake = Intake::default();
                while let Some(bytes) = inflow.next().await? {
                    intake.add(&bytes);
                    check_size(intake.seen())?;
                }
                let mime_type = self.header(CONTENT_TYPE.as_str()).map(str::to_owned);
                self.whole(&Announced { mime_type, ..announced }, intake)
            }
        }
    }

    fn order(&self) -> Result<Order, ApiError> {
        let content_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let protocol = self.header("x-goog-upload-protocol").map(str::to_owned);
        let protocol = protocol.or_else(|| self.parameter("uploadType"));
        match protocol.or_else(|| self.parameter("upload_protocol")).as_deref() {
            Some("resumable") => match self.header("x-goog-upload-command") {
                // The legacy form has no commands.
                None | Some("start") => Ok(Order::Start),
                Some(_) => Err(ApiError::new(400, "Invalid upload command for a new upload.")),
            },
            Some("multipart") => Multipart::new(content_type).map(Order::Multipart),
            None if content_type.starts_with("multipart/") => {
                Multipart::new(content_type).map(Order::Multipart)
            }
            Some("raw" | "media") => Ok(Order::Raw),
            _ => Err(ApiError::new(400, "Invalid or missing upload protocol.")),
        }
    }

    /// The store or the environment must be the project's own.
    fn check_target(&self, project: &str) -> Result<(), ApiError> {
        super::check_target(self.world, self.target, project)
    }

    async fn start(&self, mut announced: Announced, inflow: &mut Inflow<'_>) -> Result<Answer, Failure> {
        let mut body = Vec::new();
        while let Some(bytes) = inflow.next().await? {
            if body.len() + bytes.len() > METADATA_LIMIT {
                return Err(ApiError::new(400, "Upload metadata is too large.").into());
            }
            body.extend_from_slice(&bytes);
        }
        announced.metadata = metadata(&body)?;
        let said = |names: [&str; 2]| names.iter().find_map(|name| self.header(name));
        announced.mime_type =
            said(["x-goog-upload-header-content-type", "x-upload-content-type"]).map(str::to_owned);
        let size = said(["x-goog-upload-header-content-length", "x-upload-content-length"]);
        announced.size = size
            .map(|text| text.parse().map_err(|_| ApiError::new(400, "Invalid upload content length.")))
            .transpose()?;
        check_size(announced.size.unwrap_or_default())?;
        let id = self.world.uploads.start(announced, self.world.clock());
        let url = self.session_url(&id);
        Ok(Answer::new(StatusCode::OK, "text/plain; charset=utf-8", Bytes::new())
            .header("x-goog-upload-status", "active")
            .header("x-goog-upload-url", &url)
            .header("x-goog-upload-control-url", &url)
            .header("x-goog-upload-chunk-granularity", GRANULARITY.to_string())
            .header("location", url))
    }

    /// Where the bytes go: what the client asked with comes back in it, a `key` in the query as well.
    fn session_url(&self, id: &str) -> String {
        let base = self.world.lifecycle().upload_base.unwrap_or_else(|| self.origin.clone());
        let path = format!("{base}/upload/{}/{}?", self.route.version, self.target.path());
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(self.query.unwrap_or_default().as_bytes()) {
            if !matches!(name.as_ref(), "uploadType" | "upload_protocol") {
                query.append_pair(&name, &value);
            }
        }
        query.append_pair("upload_id", id).append_pair("upload_protocol", "resumable");
        path + &query.finish()
    }

    async fn multipart(
        &self,
        mut announced: Announced,
        mut multipart: Multipart,
        inflow: &mut Inflow<'_>,
    ) -> Result<Answer, Failure> {
        let mut intake = Intake::default();
        while let Some(bytes) = inflow.next().await? {
            multipart.push(&bytes, |bytes| intake.add(bytes))?;
            check_size(intake.seen())?;
        }
        multipart.finish()?;
        announced.metadata = metadata(multipart.metadata.as_deref().unwrap_or_default())?;
        announced.mime_type = multipart.data_type;
        self.whole(&announced, intake)
    }

    /// A file that came in one request.
    fn whole(&self, announced: &Announced, mut intake: Intake) -> Result<Answer, Failure> {
        intake.settle();
        Ok(Answer::pretty(&super::uploaded(self.world, announced, intake.finish())?))
    }

    /// A request to a session.
    async fn go_on(&self, id: &str, inflow: &mut Inflow<'_>) -> Result<Answer, Failure> {
        let Some(session) = self.world.uploads.find(id, self.world.clock()) else {
            return Err(ApiError::usual(404).into());
        };
        // Python sends chunks without a key; one that is sent is looked at.
        if !self.credentials.is_empty() {
            let key = self.credentials.admit(self.world, self.route)?;
            let owner = lock(&session).announced.project.clone();
            if key.project != owner {
                self.world.resources.refused(&format!("uploads/{id}"), &owner, &key.project);
                return Err(ApiError::usual(403).into());
            }
        }
        let command = Command::of(self.headers)?;
        let legacy = self.header("x-goog-upload-command").is_none();
        match command {
            Command::Query => {}
            Command::Cancel => {
                let mut session = lock(&session);
                if matches!(session.stage, UploadStage::Active) {
                    session.stage = UploadStage::Cancelled;
                    session.turn += 1;
                }
            }
            Command::Chunk { offset, finalize, aligned } => {
                if let Err(failure) = self.chunk(&session, offset, finalize, aligned, inflow).await {
                    let Failure::Refused(error) = failure else { return Err(failure) };
                    return Ok(told(Answer::error(&error, self.frame), &lock(&session)));
                }
            }
        }
        let session = lock(&session);
        let answer = match &session.stage {
            UploadStage::Final(body) => Answer::new(StatusCode::OK, JSON, body.clone()),
            _ => Answer::new(StatusCode::OK, "text/plain; charset=utf-8", Bytes::new()),
        };
        let mut answer = told(answer, &session);
        if legacy && matches!(session.stage, UploadStage::Active) {
            // "Resume Incomplete", older than the meaning that 308 has now.
            answer.status = StatusCode::PERMANENT_REDIRECT;
            if let Some(last) = session.intake.size().checked_sub(1) {
                answer = answer.header("range", format!("bytes=0-{last}"));
            }
        }
        Ok(answer)
    }

    async fn chunk(
        &self,
        session: &Mutex<Session>,
        offset: Option<u64>,
        finalize: bool,
        aligned: bool,
        inflow: &mut Inflow<'_>,
    ) -> Result<(), Failure> {
        let length: Option<u64> = self.header(CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        let (turn, before) = {
            let mut session = lock(session);
            active(&session)?;
            let size = session.intake.size();
            if offset.is_some_and(|offset| offset != size) {
                let message = format!(
                    "Upload offset {} does not match the {size} bytes received.",
                    offset.unwrap_or(0)
                );
                return Err(ApiError::new(400, message).into());
            }
            if aligned && !finalize {
                check_granularity(length.unwrap_or_default())?;
            }
            session.turn += 1;
            (session.turn, session.intake.begin())
        };
        let mut arrived = 0;
        let refused = loop {
            let bytes = match inflow.next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => {
                    let checked = if aligned && !finalize { check_granularity(arrived) } else { Ok(()) };
                    break checked.err();
                }
                Err(error) => {
                    let mut session = lock(session);
                    if session.turn == turn {
                        session.intake.break_off();
                    }
                    return Err(error.into());
                }
            };
            let mut session = lock(session);
            if session.turn != turn {
                return Err(ApiError::new(409, "Another request has taken over the upload.").into());
            }
            arrived += bytes.len() as u64;
            session.intake.add(&bytes);
            let seen = session.intake.seen();
            if let Err(error) = check_size(seen) {
                break Some(error);
            }
            if session.announced.size.is_some_and(|size| seen > size) {
                break Some(ApiError::new(400, "More bytes were sent than announced."));
            }
        };
        let mut session = lock(session);
        if session.turn != turn {
            return Err(ApiError::new(409, "Another request has taken over the upload.").into());
        }
        if let Some(error) = refused {
            session.intake.restore(before);
            return Err(error.into());
        }
        let seen = session.intake.seen();
        if finalize && session.announced.size.is_some_and(|announced| announced != seen) {
            session.intake.restore(before);
            return Err(ApiError::new(400, "Fewer bytes were sent than announced.").into());
        }
        session.intake.settle();
        if finalize {
            let whole = session.intake.finish();
            let made = super::uploaded(self.world, &session.announced, whole);
            session.stage = match &made {
                Ok(made) => UploadStage::Final(serde_json::to_vec_pretty(made).unwrap_or_default().into()),
                Err(_) => UploadStage::Cancelled,
            };
            made?;
        }
        Ok(())
    }
}

fn active(session: &Session) -> Result<(), ApiError> {
    match session.stage {
        UploadStage::Active => Ok(()),
        UploadStage::Final(_) => Err(ApiError::new(400, "Upload has already been finalized.")),
        UploadStage::Cancelled => Err(ApiError::new(400, "Upload has already been terminated.")),
    }
}

fn check_granularity(bytes: u64) -> Result<(), ApiError> {
    if bytes.is_multiple_of(GRANULARITY) {
        return Ok(());
    }
    let message =
        format!("Upload request size is {bytes} bytes, which is not a multiple of {GRANULARITY} bytes.");
    Err(ApiError::new(400, message))
}

fn check_size(bytes: u64) -> Result<(), ApiError> {
    if bytes <= LARGEST {
        return Ok(());
    }
    Err(ApiError::new(400, format!("File size exceeds the limit: {LARGEST} bytes.")))
}

fn metadata(body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    let error =
        |error| ApiError::new(400, format!("Invalid JSON payload received. Unexpected token.\n{error}"));
    serde_json::from_slice(body).map_err(error)
}

/// With what every answer of a session says of it.
fn told(answer: Answer, session: &Session) -> Answer {
    let answer = answer.header("x-goog-upload-status", session.stage.word());
    if !matches!(session.stage, UploadStage::Active) {
        return answer;
    }
    answer
        .header("x-goog-upload-chunk-granularity", GRANULARITY.to_string())
        .header("x-goog-upload-size-received", session.intake.size().to_string())
}
