//! `[auth]`: how clients prove who they are. Keys and files are tried here, so that a mistake in
//! them is found before anything starts.

use super::endpoint::Access;
use super::high::Warning;
use super::low::Value;
use super::read::{Reader, Scope};
use super::secret::Secret;
use super::service::{self, check_url, optional, read_file};
use fulmar::Identity;
use fulmar_auth::{
    Algorithm, CallbackOptions, JwksOptions, JwksSource, JwtOptions, JwtVerifier, KeySet, Keys,
    SetupError, StaticTokens, VerifyingKey,
};
use std::path::PathBuf;
use std::time::Duration;

/// `[auth]` with its tables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Auth {
    /// In the order in which they are tried; empty where clients prove nothing.
    pub(crate) methods: Vec<Method>,
    /// The longest token, in bytes.
    pub(crate) token_bytes_max: usize,
    /// The query parameter that may carry a token.
    pub(crate) query: Option<String>,
    /// The cookie that may carry a token.
    pub(crate) cookie: Option<String>,
    /// Tokens and their users; not empty where [`Method::Tokens`] is in force.
    pub(crate) tokens: Vec<(Secret, String)>,
    /// There where [`Method::Jwt`] is in force.
    pub(crate) jwt: Option<Jwt>,
    /// `[auth.callback]`.
    pub(crate) callback: Callback,
    /// Keys that were typed and have no effect, since their method is not in force.
    unused: Vec<&'static str>,
}

/// A way to prove who one is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    /// Without any token, as nobody in particular.
    Anonymous,
    /// With a token that is in the configuration.
    Tokens,
    /// With a JSON Web Token.
    Jwt,
    /// With whatever an HTTP service accepts.
    Callback,
}

impl Method {
    /// In the order of the key's words.
    const ALL: [Self; 4] = [Self::Anonymous, Self::Tokens, Self::Jwt, Self::Callback];

    /// The key's word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Tokens => "tokens",
            Self::Jwt => "jwt",
            Self::Callback => "callback",
        }
    }
}

/// `[auth.jwt]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Jwt {
    /// Where the keys are.
    pub(crate) keys: JwtKeys,
    refresh: Duration,
    algorithms: Vec<Algorithm>,
    issuer: Option<String>,
    audience: Vec<String>,
    leeway: Duration,
    user_claim: String,
    require_expiry: bool,
    token_bytes_max: usize,
}

/// Where the keys of tokens are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum JwtKeys {
    /// A secret of HS256.
    Secret(Secret),
    /// A public key in PEM.
    PublicKey(String),
    /// A key set in a file.
    File(PathBuf),
    /// A key set that is fetched.
    Url(String),
}

/// `[auth.callback]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Callback {
    /// Asked who a client is; there where [`Method::Callback`] is in force.
    pub(crate) url: Option<String>,
    /// Asked which rooms a client may join.
    pub(crate) rooms_url: Option<String>,
    timeout: Duration,
    concurrency_max: usize,
    queue_max: usize,
    authorization: Option<Secret>,
    headers: Vec<String>,
}

impl Auth {
    /// The tokens of the configuration, ready to be looked up.
    ///
    /// # Errors
    /// A token that is empty, too long or listed twice.
    pub(crate) fn static_tokens(&self) -> Result<StaticTokens, SetupError> {
        let mut tokens = StaticTokens::new();
        for (token, user) in &self.tokens {
            tokens.insert(token.reveal(), Identity::user(user.as_str()))?;
        }
        Ok(tokens)
    }

    /// What holds for an endpoint that does not say.
    pub(crate) fn default_access(&self) -> Access {
        if self.methods.is_empty() { Access::Off } else { Access::Required }
    }

    /// What was typed and has no effect.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = Warning> {
        self.unused.iter().map(|key| {
            let method = key.split('.').nth(1).unwrap_or_default();
            let message = format!("this has no effect without \"{method}\" in auth.methods");
            Warning { key: (*key).to_owned(), message }
        })
    }
}

impl Jwt {
    /// The keys: read, or for a URL fetched from now on by a thread of their own.
    ///
    /// # Errors
    /// Keys that cannot be used, a file that cannot be read, no thread to be had.
    pub(crate) fn keys(&self) -> Result<Keys, SetupError> {
        let one = |key| Keys::Fixed(KeySet::new(vec![key]));
        match &self.keys {
            JwtKeys::Secret(secret) => VerifyingKey::secret(secret.reveal().as_bytes()).map(one),
            JwtKeys::PublicKey(pem) => VerifyingKey::public_pem(pem).map(one),
            JwtKeys::File(path) => JwksSource::file(path).map(Keys::Source),
            JwtKeys::Url(url) => {
                let mut options = JwksOptions::default();
                options.refresh = self.refresh;
                JwksSource::url(url, options).map(Keys::Source)
            }
        }
    }

    /// What checks tokens with these keys.
    ///
    /// # Errors
    /// Options that do not fit the keys.
    pub(crate) fn verifier(&self, keys: Keys) -> Result<JwtVerifier, SetupError> {
        let mut options = JwtOptions::new(keys);
        options.algorithms.clone_from(&self.algorithms);
        options.issuer.clone_from(&self.issuer);
        options.audience.clone_from(&self.audience);
        options.leeway = self.leeway;
        options.token_bytes_max = self.token_bytes_max;
        options.user_claim.clone_from(&self.user_claim);
        options.require_expiry = self.require_expiry;
        JwtVerifier::new(options)
    }
}

impl Callback {
    /// How the service at `url` is asked.
    pub(crate) fn options(&self, url: &str) -> CallbackOptions {
        let mut options = CallbackOptions::new(url);
        options.timeout = self.timeout;
        options.concurrency_max = self.concurrency_max;
        options.queue_max = self.queue_max;
        options.authorization =
            self.authorization.as_ref().map(|secret| secret.reveal().to_owned());
        options.headers.clone_from(&self.headers);
        options
    }
}

/// Reads `[auth]`.
pub(crate) fn resolve(reader: &mut Reader, scope: Scope<'_>) -> Auth {
    let methods = reader.choices(scope, "auth.methods", &Method::ALL);
    if let Some(index) = methods.iter().position(|method| *method == Method::Callback)
        && index + 1 < methods.len()
    {
        let message = "\"callback\" must be the last: its answer comes later".to_owned();
        reader.report_item(scope, "auth.methods", index, message);
    }
    let mut unused = Vec::new();
    let mut is_used = |method: Method, typed: Option<&'static str>| {
        let used = methods.contains(&method);
        unused.extend(typed.filter(|_| !used));
        used
    };
    let is_given = |name: &&&'static str| match scope.find(name).map(|node| &node.value) {
        Some(Value::Text(text)) => !text.is_empty(),
        Some(Value::List(items)) => !items.is_empty(),
        _ => false,
    };
    let typed = |names: &[&'static str]| names.iter().find(is_given).copied();
    let use_tokens = is_used(Method::Tokens, typed(&["auth.tokens"]));
    let use_jwt = is_used(Method::Jwt, typed(&SOURCES));
    let use_callback = is_used(Method::Callback, typed(&["auth.callback.url"]));
    let token_bytes_max = reader.number(scope, "auth.token_bytes_max");
    let auth = Auth {
        token_bytes_max,
        query: resolve_name(reader, scope, "auth.query"),
        cookie: resolve_name(reader, scope, "auth.cookie"),
        tokens: resolve_tokens(reader, scope, use_tokens),
        jwt: resolve_jwt(reader, scope, use_jwt, token_bytes_max),
        callback: resolve_callback(reader, scope, use_callback),
        methods,
        unused,
    };
    if let Err(error) = auth.static_tokens() {
        reader.report(scope, "auth.tokens", format!("a token {}", error.detail()));
    }
    auth
}

/// The keys that name where keys are; exactly one of them counts.
const SOURCES: [&str; 5] = [
    "auth.jwt.secret",
    "auth.jwt.secret_file",
    "auth.jwt.public_key_file",
    "auth.jwt.jwks_file",
    "auth.jwt.jwks_url",
];

/// A name in a query or a cookie (RFC 6265, 4.1.1: a token).
fn resolve_name(reader: &mut Reader, scope: Scope<'_>, name: &str) -> Option<String> {
    let text = optional(reader, scope, name)?;
    let is_token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}&%+#".contains(&b);
    if !text.bytes().all(is_token) {
        let message = format!("'{text}' is not a name: expected letters, digits, - and _");
        reader.report(scope, name, message);
    }
    Some(text)
}

fn resolve_tokens(reader: &mut Reader, scope: Scope<'_>, is_used: bool) -> Vec<(Secret, String)> {
    let items = reader.text_list(scope, "auth.tokens");
    if is_used && items.is_empty() {
        let message = "the method \"tokens\" needs auth.tokens = [\"TOKEN=USER\"]".to_owned();
        report_at(reader, scope, "auth.tokens", message);
    }
    let mut tokens = Vec::new();
    for (index, item) in items.iter().enumerate() {
        // Of several signs the last: base64 ends with them, users hardly ever have one.
        match item.rsplit_once('=').filter(|(token, user)| !token.is_empty() && !user.is_empty()) {
            Some((token, user)) => tokens.push((Secret::new(token), user.to_owned())),
            None => {
                let message = format!("token {} is not of the form TOKEN=USER", index + 1);
                reader.report_item(scope, "auth.tokens", index, message);
            }
        }
    }
    tokens
}

fn resolve_jwt(
    reader: &mut Reader,
    scope: Scope<'_>,
    is_used: bool,
    token_bytes_max: usize,
) -> Option<Jwt> {
    let sources = SOURCES.map(|name| optional(reader, scope, name));
    let jwt = Jwt {
        keys: JwtKeys::Url(String::new()),
        refresh: reader.duration(scope, "auth.jwt.refresh"),
        algorithms: reader.choices(scope, "auth.jwt.algorithms", &ALGORITHMS),
        issuer: optional(reader, scope, "auth.jwt.issuer"),
        audience: reader.text_list(scope, "auth.jwt.audience"),
        leeway: reader.duration(scope, "auth.jwt.leeway"),
        user_claim: reader.text(scope, "auth.jwt.user_claim"),
        require_expiry: reader.switch(scope, "auth.jwt.require_expiry"),
        token_bytes_max,
    };
    if !is_used {
        return None;
    }
    let given = || SOURCES.iter().zip(&sources).filter(|(_, value)| value.is_some());
    let Some((name, _)) = given().next() else {
        let message = "the method \"jwt\" needs keys: set one of secret, secret_file, \
                       public_key_file, jwks_file and jwks_url in [auth.jwt]";
        report_at(reader, scope, "auth.jwt.secret", message.to_owned());
        return None;
    };
    if let Some((other, _)) = given().nth(1) {
        let message = format!("{name} is set too: expected one source of keys");
        reader.report(scope, other, message);
        return None;
    }
    let [secret, secret_file, public_key_file, jwks_file, jwks_url] = sources;
    let read = |reader: &mut Reader, path: String| read_file(reader, scope, name, &path);
    let keys = match (secret, secret_file, public_key_file, jwks_file, jwks_url) {
        (Some(secret), ..) => JwtKeys::Secret(Secret::new(secret)),
        (_, Some(path), ..) => JwtKeys::Secret(Secret::new(read(reader, path)?)),
        (_, _, Some(path), ..) => JwtKeys::PublicKey(read(reader, path)?),
        (.., Some(path), _) => JwtKeys::File(path.into()),
        (.., url) => JwtKeys::Url(url.unwrap_or_default()),
    };
    let jwt = Jwt { keys, ..jwt };
    check_jwt(reader, scope, name, &jwt);
    Some(jwt)
}

/// In the order of the key's words.
const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

/// Tries keys and options on each other; nothing is fetched for that.
fn check_jwt(reader: &mut Reader, scope: Scope<'_>, source: &str, jwt: &Jwt) {
    if let JwtKeys::Url(url) = &jwt.keys {
        check_url(reader, scope, source, url, false, "auth.callback.authorization");
        if jwt.algorithms.contains(&Algorithm::Hs256) {
            let message = "HS256 needs a secret, and a key set at a URL must not have one";
            reader.report(scope, "auth.jwt.algorithms", message.to_owned());
        }
    }
    let result = match &jwt.keys {
        // With any keys: what is left to check are the other options.
        JwtKeys::Url(_) => {
            let any = VerifyingKey::weak_secret(b"any").map(|key| KeySet::new(vec![key]));
            let jwt = Jwt { algorithms: Vec::new(), ..jwt.clone() };
            any.and_then(|keys| jwt.verifier(Keys::Fixed(keys)))
        }
        _ => jwt.keys().and_then(|keys| jwt.verifier(keys)),
    };
    if let Err(error) = result {
        let (name, message) = match error.what() {
            "algorithms" => ("auth.jwt.algorithms", error.detail().to_owned()),
            "leeway" => ("auth.jwt.leeway", error.detail().to_owned()),
            "user_claim" => ("auth.jwt.user_claim", error.detail().to_owned()),
            _ => (source, error.to_string()),
        };
        reader.report(scope, name, message);
    }
}

fn resolve_callback(reader: &mut Reader, scope: Scope<'_>, is_used: bool) -> Callback {
    let url = optional(reader, scope, "auth.callback.url");
    let rooms_url = optional(reader, scope, "auth.callback.rooms_url");
    if is_used && url.is_none() {
        let message = "the method \"callback\" needs auth.callback.url".to_owned();
        report_at(reader, scope, "auth.callback.url", message);
    }
    for (name, url) in [("auth.callback.url", &url), ("auth.callback.rooms_url", &rooms_url)] {
        if let Some(url) = url {
            check_url(reader, scope, name, url, true, "auth.callback.authorization");
        }
    }
    let authorization = service::authorization(reader, scope, "auth.callback.authorization");
    let headers = service::header_names(reader, scope, "auth.callback.headers");
    Callback {
        url: url.filter(|_| is_used),
        rooms_url,
        timeout: reader.duration(scope, "auth.callback.timeout"),
        concurrency_max: reader.number(scope, "auth.callback.concurrency_max"),
        queue_max: reader.number(scope, "auth.callback.queue_max"),
        authorization,
        headers,
    }
}

/// Reports something missing: where it was typed, else where the methods are.
fn report_at(reader: &mut Reader, scope: Scope<'_>, name: &str, message: String) {
    let at = if scope.find(name).is_some() { name } else { "auth.methods" };
    reader.report(scope, at, message);
}
