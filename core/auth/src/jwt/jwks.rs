//! Key sets that change: read from a file again, or fetched from a URL on a thread of its own.
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use ureq::Agent;

use super::{keys::KeySet, set::JWKS_BYTES_MAX};
use crate::{SetupError, clock::Stopwatch, http};

/// How often a source without any keys is tried, at most.
const RETRY_WITHOUT_KEYS: Duration = Duration::from_secs(5);

/// How keys are fetched from a URL.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JwksOptions {
    /// Time between two fetches. Default 10 minutes.
    pub refresh: Duration,
    /// Least time between two fetches, whatever tokens come. Default 30 s, at least 100 ms. Also
    /// the time until a failed fetch is tried again (5 s at most while there are no keys).
    pub refresh_min: Duration,
    /// For one fetch, from the name look-up to the last byte. Default 5 s.
    pub timeout: Duration,
    /// Authorities to trust instead of the web's, in PEM. Default none.
    pub certificates: Option<String>,
    /// Whether plain http to another machine is accepted. Default false: whoever can answer in
    /// the server's place can let in anybody.
    pub plain_http: bool,
}

impl Default for JwksOptions {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(600),
            refresh_min: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            certificates: None,
            plain_http: false,
        }
    }
}

/// How a source is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwksStatus {
    /// Keys in use.
    pub keys: usize,
    /// What was left out of the set in use, and why.
    pub skipped: Vec<String>,
    /// Why the last attempt to load failed; `None` if it did not.
    pub last_error: Option<String>,
    /// How old the keys in use are; `None` without keys.
    pub age: Option<Duration>,
    /// Attempts to load so far.
    pub loads: u64,
}

/// Keys that may change while tokens are checked. If loading fails, the last good set stays in
/// use, however old: an outage of the issuer's web server locks nobody out.
pub struct JwksSource {
    shared: Arc<Shared>,
    origin: Origin,
}

enum Origin {
    File(PathBuf),
    /// Dropping `stop` ends the thread.
    Url {
        wake: Sender<()>,
        _stop: Sender<()>,
    },
}

#[derive(Default)]
struct Shared {
    /// Read for every token; replaced as a whole.
    keys: RwLock<Option<Arc<KeySet>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loaded: Option<Stopwatch>,
    last_error: Option<String>,
    loads: u64,
}

struct Fetcher {
    agent: Agent,
    url: String,
    options: JwksOptions,
    shared: Arc<Shared>,
    wake: Receiver<()>,
    stop: Receiver<()>,
}

impl JwksSource {
    /// Reads a file now; later only on [`JwksSource::reload`]. The set may hold secrets.
    ///
    /// # Errors
    /// The file cannot be read, or is no key set (see [`KeySet::from_jwks`]).
    pub fn file(path: impl AsRef<Path>) -> Result<Arc<Self>, SetupError> {
        let origin = Origin::File(path.as_ref().to_owned());
        let source = Self { shared: Arc::default(), origin };
        source.reload()?;
        Ok(Arc::new(source))
    }

    /// Fetches from a URL, first as soon as possible: until that is done tokens are refused as
    /// [`crate::Refusal::Unavailable`]. The thread ends when the source is dropped.
    ///
    /// # Errors
    /// A URL other than https, or http where it is allowed; certificates that cannot be read; no
    /// thread to be had.
    pub fn url(url: &str, options: JwksOptions) -> Result<Arc<Self>, SetupError> {
        http::check_url(url, options.plain_http)?;
        let agent = http::agent(options.timeout, 1, options.certificates.as_deref())?;
        let shared = Arc::<Shared>::default();
        let (wake, wake_receiver) = bounded(1);
        let (stop, stop_receiver) = bounded(0);
        let fetcher = Fetcher {
            agent,
            url: url.to_owned(),
            options,
            shared: Arc::clone(&shared),
            wake: wake_receiver,
            stop: stop_receiver,
        };
        thread::Builder::new()
            .name("fulmar-jwks".to_owned())
            .spawn(move || fetcher.run())
            .map_err(|error| SetupError::new("jwks", format!("no thread: {error}")))?;
        Ok(Arc::new(Self { shared, origin: Origin::Url { wake, _stop: stop } }))
    }

    /// The keys in use; `None` before the first could be fetched.
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        self.shared.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How it is doing, for status pages.
    pub fn status(&self) -> JwksStatus {
        let keys = self.keys();
        let state = self.shared.state();
        JwksStatus {
            keys: keys.as_ref().map_or(0, |set| set.keys().len()),
            skipped: keys.map(|set| set.skipped().to_vec()).unwrap_or_default(),
            last_error: state.last_error.clone(),
            age: state.loaded.map(Stopwatch::elapsed),
            loads: state.loads,
        }
    }

    /// Loads again: a file at once (this blocks; not for shards), a URL soon, on its thread.
    ///
    /// # Errors
    /// As [`JwksSource::file`]; the keys in use stay.
    pub fn reload(&self) -> Result<(), SetupError> {
        match &self.origin {
            Origin::File(path) => {
                let set = read(path).and_then(|text| KeySet::from_jwks(&text, true));
                self.shared.store(set)
            }
            Origin::Url { .. } => {
                self.request_refresh();
                Ok(())
            }
        }
    }

    /// Asks the thread, if there is one, to fetch before its time. Never waits.
    pub(super) fn request_refresh(&self) {
        if let Origin::Url { wake, .. } = &self.origin {
            // Full: it was asked already. Disconnected: it is over.
            match wake.try_send(()) {
                Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
        }
    }

    pub(super) fn secrets_allowed(&self) -> bool {
        matches!(self.origin, Origin::File(_))
    }
}

impl fmt::Debug for JwksSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JwksSource").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, set: Result<KeySet, SetupError>) -> Result<(), SetupError> {
        let mut state = self.state();
        state.loads += 1;
        match set {
            Ok(set) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(set));
                state.loaded = Some(Stopwatch::start());
                state.last_error = None;
                Ok(())
            }
            Err(error) => {
                state.last_error = Some(error.to_string());
                Err(error)
            }
        }
    }
}

impl Fetcher {
    fn run(self) {
        let least = self.options.refresh_min.max(Duration::from_millis(100));
        loop {
            let result = self.shared.store(self.fetch());
            let has_keys = self.shared.state().loaded.is_some();
            let pause = if has_keys { least } else { least.min(RETRY_WITHOUT_KEYS) };
            // Nothing shortens this pause: that is what bounds the fetches.
            if !self.waited(&self.stop, pause) {
                return;
            }
            let rest = self.options.refresh.saturating_sub(least);
            if result.is_ok() && !self.waited_or_woken(rest) {
                return;
            }
        }
    }

    /// False when the source is gone.
    fn waited(&self, receiver: &Receiver<()>, time: Duration) -> bool {
        receiver.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
    }

    fn waited_or_woken(&self, time: Duration) -> bool {
        // Both channels end together with the source.
        self.wake.recv_timeout(time) != Err(RecvTimeoutError::Disconnected)
    }

    fn fetch(&self) -> Result<KeySet, SetupError> {
        // What was asked for until now is answered by this fetch.
        while self.wake.try_recv().is_ok() {}
        let wrong = |error: &ureq::Error| SetupError::new("jwks", http::error_text(error));
        let mut response = self
            .agent
            .get(&self.url)
            .header("accept", "application/jwk-set+json, application/json")
            .call()
            .map_err(|error| wrong(&error))?;
        if response.status() != 200 {
            let detail = format!("the server answered {}", response.status().as_u16());
            return Err(SetupError::new("jwks", detail));
        }
        let limit = u64::try_from(JWKS_BYTES_MAX).unwrap_or(u64::MAX);
        let body = response.body_mut().with_config().limit(limit).read_to_vec();
        let body = String::from_utf8(body.map_err(|error| wrong(&error))?)
            .map_err(|_| SetupError::new("jwks", "is not UTF-8"))?;
        KeySet::from_jwks(&body, false)
    }
}

fn read(path: &Path) -> Result<String, SetupError> {
    use io::Read;
    let wrong = |error: io::Error| SetupError::new("jwks", format!("{}: {error}", path.display()));
    let limit = u64::try_from(JWKS_BYTES_MAX).unwrap_or(u64::MAX);
    let mut text = String::new();
    // One byte more than allowed, so that a longer file is seen to be longer.
    let mut file = fs::File::open(path).map_err(wrong)?.take(limit.saturating_add(1));
    file.read_to_string(&mut text).map_err(wrong)?;
    Ok(text)
}
