//! Objects of S3, Google Cloud Storage and Azure Blob Storage, with the credentials that the
//! tools of these clouds find. Does I/O: the network, files with credentials.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_channel::bounded;
use async_trait::async_trait;
use futures_util::StreamExt;
use http::Request;
use http::header::{ACCEPT_ENCODING, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{
    Attribute, ClientConfigKey, ClientOptions, Error, GetOptions, GetRange, ObjectStore,
    RetryConfig,
};
use tokio::runtime::Builder;
use url::Url;

use super::exchange::{exchange, in_words, transport};
use super::object::{ObjectVersion, OpenError, OpenedObject, RemoteObject};
use crate::send::Transport;
use crate::threads;

mod profile;

/// The object stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cloud {
    Aws,
    Google,
    Azure,
}

/// An object of a bucket.
struct CloudObject {
    cloud: Cloud,
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// The region that the latest answer names.
    region: Region,
}

/// The region of a bucket, where an answer has named one.
type Region = Arc<Mutex<Option<String>>>;

/// Maximum number of times that a request is sent again, and the time for that.
const RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// Number of chunks that may wait for their reader.
const WAITING: usize = 4;

/// The header in which S3 names the region of a bucket.
const REGION: &str = "x-amz-bucket-region";

impl fmt::Debug for CloudObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CloudObject");
        shown.field("cloud", &self.cloud).field("path", &self.path).finish_non_exhaustive()
    }
}

/// The object at a URL of a cloud.
///
/// # Errors
/// Which part of the URL or of the environment is wrong.
pub fn object(url: &Url) -> Result<Arc<dyn RemoteObject>, String> {
    let cloud = match url.scheme() {
        "s3" | "s3a" => Cloud::Aws,
        "gs" => Cloud::Google,
        "az" | "azure" | "abfs" | "abfss" => Cloud::Azure,
        scheme => {
            return Err(format!(
                "{scheme}:// is not read: http://, https://, s3://, gs://, az:// and files are"
            ));
        }
    };
    let path = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
    if url.host_str().is_none_or(str::is_empty) || path.as_ref().is_empty() {
        let scheme = url.scheme();
        return Err(format!("the URL of an object is {scheme}://BUCKET/PATH"));
    }
    let region = Region::default();
    let store = store(cloud, url, OwnConnector { cloud, region: region.clone() });
    let store = store.map_err(|error| explained(cloud, &error, None))?;
    Ok(Arc::new(CloudObject { cloud, store, path, region }))
}

fn store(
    cloud: Cloud,
    url: &Url,
    connector: OwnConnector,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig {
        max_retries: RETRIES,
        retry_timeout: RETRY_TIMEOUT,
        ..RetryConfig::default()
    };
    // The host of a URL is in small letters, and the name of a bucket as well.
    let bucket = url.host_str().unwrap_or_default();
    Ok(match cloud {
        Cloud::Aws => {
            let mut builder = AmazonS3Builder::from_env();
            for (key, value) in profile::settings(&|name| std::env::var(name).ok()) {
                if builder.get_config_value(&key).is_none() {
                    builder = builder.with_config(key, value);
                }
            }
            let builder = builder.with_bucket_name(bucket).with_allow_http(true);
            Arc::new(builder.with_retry(retry).with_http_connector(connector).build()?)
        }
        Cloud::Google => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            Arc::new(builder.with_retry(retry).with_http_connector(connector).build()?)
        }
        Cloud::Azure => {
            let mut builder = MicrosoftAzureBuilder::from_env();
            // As the command `az` calls them.
            if let Ok(account) = std::env::var("AZURE_STORAGE_ACCOUNT") {
                builder = builder.with_account(account);
            }
            if let Ok(key) = std::env::var("AZURE_STORAGE_KEY") {
                builder = builder.with_access_key(key);
            }
            builder = if url.scheme().starts_with("abfs") {
                builder.with_url(url.as_str())
            } else {
                builder.with_container_name(bucket)
            };
            let builder = builder.with_allow_http(true);
            Arc::new(builder.with_retry(retry).with_http_connector(connector).build()?)
        }
    })
}

impl RemoteObject for CloudObject {
    fn open(&self, from: u64) -> Result<OpenedObject, OpenError> {
        let (to, opened) = bounded(1);
        let (store, path) = (self.store.clone(), self.path.clone());
        let started = threads::spawn(move || {
            let work = async {
                match read(&*store, &path, from, &to).await {
                    Ok(()) => {}
                    // No one waits for it if the reader has gone.
                    Err(error) => drop(to.try_send(Err(error))),
                }
            };
            if let Ok(runtime) = Builder::new_current_thread().enable_all().build() {
                runtime.block_on(work);
            }
        });
        started.map_err(|error| OpenError::Passing(error.to_string()))?;
        match opened.recv_blocking() {
            Ok(opened) => opened.map_err(|error| self.why_not(&error)),
            Err(_) => Err(OpenError::Passing("it was not answered".into())),
        }
    }
}

impl CloudObject {
    fn why_not(&self, error: &Error) -> OpenError {
        let region = self.region.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let why = explained(self.cloud, error, region);
        match error {
            Error::Generic { .. } => OpenError::Passing(why),
            _ => OpenError::Final(why),
        }
    }
}

/// Passes an object on, and then its chunks.
async fn read(
    store: &dyn ObjectStore,
    path: &Path,
    from: u64,
    to: &async_channel::Sender<Result<OpenedObject, Error>>,
) -> Result<(), Error> {
    let range = (from > 0).then_some(GetRange::Offset(from));
    let got = store.get_opts(path, GetOptions { range, ..GetOptions::default() }).await?;
    let attribute = |name| got.attributes.get(&name).map(|value| value.to_string());
    let (to_reader, chunks) = bounded(WAITING);
    let opened = OpenedObject {
        version: ObjectVersion {
            tag: got.meta.e_tag.clone(),
            modified: Some(got.meta.last_modified.to_rfc3339()),
            size: Some(got.meta.size),
        },
        content_type: attribute(Attribute::ContentType),
        encoding: attribute(Attribute::ContentEncoding),
        from: got.range.start,
        chunks,
    };
    if to.try_send(Ok(opened)).is_err() {
        return Ok(());
    }
    let mut stream = got.into_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| without_queries(&error.to_string()));
        if to_reader.send(chunk).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Makes the connections of an object store, by throng's own code.
#[derive(Debug)]
struct OwnConnector {
    cloud: Cloud,
    region: Region,
}

struct OwnService {
    transport: Arc<Transport>,
    cloud: Cloud,
    region: Region,
}

impl fmt::Debug for OwnService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnService")
    }
}

impl HttpConnector for OwnConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let connect = options.get_config_value(&ClientConfigKey::ConnectTimeout);
        let connect = connect.and_then(|text| humantime::parse_duration(&text).ok());
        let transport = transport(None, connect)
            .map_err(|error| Error::Generic { store: "HTTP", source: error.to_string().into() })?;
        Ok(HttpClient::new(OwnService {
            transport,
            cloud: self.cloud,
            region: self.region.clone(),
        }))
    }
}

#[async_trait]
impl HttpService for OwnService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (mut parts, body) = request.into_parts();
        // An object that is stored in gzip comes as it is stored, in all parts of it.
        let encoding = if self.cloud == Cloud::Google { "gzip" } else { "identity" };
        parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        let body = body.as_bytes().cloned().unwrap_or_default();
        let answer = exchange(&self.transport, Request::from_parts(parts, body));
        let failed = |why: String| HttpError::new_boxed(HttpErrorKind::Connect, why.into());
        let answer = answer.recv().await.map_err(|error| failed(error.to_string()))?;
        let answer = answer.map_err(|error| failed(in_words(&error)))?;
        let region = answer.headers.get(REGION).and_then(|region| region.to_str().ok());
        *self.region.lock().unwrap_or_else(PoisonError::into_inner) = region.map(str::to_owned);
        let frames = answer.body.map(|chunk| match chunk {
            Ok(bytes) => Ok(Frame::data(bytes)),
            Err(why) => Err(HttpError::new_boxed(HttpErrorKind::Interrupted, why.into())),
        });
        let mut response = HttpResponse::new(HttpResponseBody::new(StreamBody::new(frames)));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

/// Why an object can't be read, and what to do.
fn explained(cloud: Cloud, error: &Error, region: Option<String>) -> String {
    let said = without_queries(&chain(error));
    match error {
        Error::NotFound { .. } if said.contains("NoSuchBucket") => {
            format!("there is no such bucket: check its name{}", cloud.place())
        }
        Error::NotFound { .. } => "there is no such object: check its name".to_owned(),
        Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => {
            format!("access is refused: {}; the server says: {}", cloud.rights(), excerpt(&said))
        }
        _ if said.contains("incorrectly configured region") || is_of_other_region(&said) => {
            let region = region.unwrap_or_else(|| "ITS-REGION".to_owned());
            format!("the bucket is in another region: set AWS_REGION={region}")
        }
        _ if is_without_credentials(&said) => {
            format!("no credentials are found: {}", cloud.credentials())
        }
        _ => excerpt(&said),
    }
}

fn is_of_other_region(said: &str) -> bool {
    said.contains("AuthorizationHeaderMalformed") || said.contains("PermanentRedirect")
}

/// Whether an error is that of the service that gives machines of a cloud their credentials.
fn is_without_credentials(said: &str) -> bool {
    let signs = [
        "/latest/api/token",
        "/latest/meta-data/",
        "169.254.169.254",
        "169.254.170.2",
        "metadata.google.internal",
        "metadata/identity",
        "Account must be specified",
    ];
    signs.iter().any(|sign| said.contains(sign))
}

impl Cloud {
    fn credentials(self) -> &'static str {
        match self {
            Cloud::Aws => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile in ~/.aws/credentials (eval \"$(aws configure export-credentials --format env)\" does it for others), or AWS_SKIP_SIGNATURE=true for a public bucket"
            }
            Cloud::Google => {
                "set GOOGLE_APPLICATION_CREDENTIALS to a file, run gcloud auth application-default login, or set GOOGLE_SKIP_SIGNATURE=true for a public bucket"
            }
            Cloud::Azure => {
                "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN (or AZURE_USE_AZURE_CLI=true after az login), or AZURE_SKIP_SIGNATURE=true for a public container"
            }
        }
    }

    fn rights(self) -> &'static str {
        match self {
            Cloud::Aws => {
                "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE), and that they may do s3:GetObject there"
            }
            Cloud::Google => {
                "check GOOGLE_APPLICATION_CREDENTIALS, and that the account may do storage.objects.get there"
            }
            Cloud::Azure => {
                "check AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, and that the account may read blobs there"
            }
        }
    }

    /// What else than its name leads to a bucket.
    fn place(self) -> &'static str {
        match self {
            Cloud::Aws => " and AWS_ENDPOINT_URL",
            Cloud::Google => "",
            Cloud::Azure => " and AZURE_STORAGE_ACCOUNT",
        }
    }
}

/// An error and its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

/// A text without the queries of the URLs in it, which may hold signatures.
fn without_queries(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => format!("{url}?…"),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Maximum number of characters of what an error says.
const MAX_SAID: usize = 300;

fn excerpt(said: &str) -> String {
    crate::record::excerpt(&said.replace('\n', " "), MAX_SAID)
}
