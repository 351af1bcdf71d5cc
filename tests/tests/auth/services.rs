//! What the tests of authentication need around the server: its commands, an HTTP service of their
//! own, and keys.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// A secret that is long enough.
pub(crate) const SECRET: &str = "a secret of more than 32 bytes, for tests only";

/// A key for tests, by the name of its file.
pub(crate) fn key(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/auth/tests/keys");
    format!("{path}/{name}")
}

/// Runs a command of the binary: its code, its output, its errors.
pub(crate) fn fulmar(arguments: &[&str]) -> (i32, String, String) {
    let executable = match std::env::var_os("FULMAR_BIN") {
        Some(path) => PathBuf::from(path),
        // target/PROFILE/deps/TEST
        None => std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("fulmar"),
    };
    let output = Command::new(executable)
        .args(arguments)
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A token for `ada`, as `fulmar token` makes it with these flags.
pub(crate) fn token(flags: &[&str]) -> String {
    let (code, out, errors) = fulmar(&[&["token", "--user", "ada"], flags].concat());
    assert_eq!(code, 0, "{errors}");
    out.trim().to_owned()
}

/// The same, signed with [`SECRET`].
pub(crate) fn signed(flags: &[&str]) -> String {
    token(&[&["--secret", SECRET], flags].concat())
}

/// A token that nobody signed.
pub(crate) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

/// A key set with the public keys of EC P-256 and Ed25519, under the ids `ec` and `ed`.
pub(crate) fn key_set() -> String {
    // What a public key ends with is the key itself.
    let (ec, ed) = (der(&key("ec.public.pem")), der(&key("ed.public.pem")));
    let (x, y) = ec[ec.len() - 64..].split_at(32);
    format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"ec","x":"{}","y":"{}"}},
           {{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"{}"}}]}}"#,
        base64url(x),
        base64url(y),
        base64url(&ed[ed.len() - 32..])
    )
}

/// A file that is removed at the end.
pub(crate) struct File(PathBuf);

impl File {
    /// With this content.
    pub(crate) fn with(content: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fulmar-auth-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, content).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

/// What a service answers: status and body; `None` never answers.
pub(crate) type Answer = Option<(u16, String)>;

/// An HTTP service on the loopback.
pub(crate) struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    ending: Arc<AtomicBool>,
}

impl Service {
    /// Answers requests by their bodies. Connections on which it does not answer stay open.
    pub(crate) fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ending) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (record, end, answer) = (asked.clone(), ending.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let (record, answer) = (record.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &record, &*answer));
            }
        });
        Self { address, asked, ending }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/auth", self.address)
    }

    /// The bodies of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        let _woken = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, asked: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> Answer) {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body = String::from_utf8(body).unwrap();
    let answer = answer(&body);
    asked.lock().unwrap().push(body);
    match answer {
        Some((status, body)) => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            let _gone = reader.get_mut().write_all((head + &body).as_bytes());
        }
        // Until the other side gives up.
        None => drop(reader.read(&mut [0])),
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let index = bits >> (18 - 6 * place) & 63;
            text.push(char::from(ALPHABET[usize::try_from(index).unwrap()]));
        }
    }
    text
}

/// What is between the lines of a PEM file.
fn der(path: &str) -> Vec<u8> {
    let text = fs::read_to_string(path).unwrap();
    let body = text.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for letter in body.bytes().filter(|letter| *letter != b'=') {
        let letter = match letter {
            b'+' => b'-',
            b'/' => b'_',
            other => other,
        };
        let value = ALPHABET.iter().position(|known| *known == letter).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 255).unwrap());
        }
    }
    bytes
}
