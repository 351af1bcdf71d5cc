//! Calls of alien-rpc: requests whose answers are known by their ids, and may come in any order.

use fulmar_proto::ws;
use serde::Deserialize;
use sonic_rs::{JsonValueTrait, Value};

use super::exchange::{Answer, Reach, Wording, run_exchange};
use super::{Context, Outcome};
use crate::cli::RequestArgs;
use crate::frames::{Format, Random};
use crate::measure::ErrorLog;
use crate::walker::Message;

/// Bytes of a call around its method and its parameters, at most.
const AROUND_BYTES: usize = 64;
/// Bytes that an answer has besides what was sent, at most; of longer ones the end is not seen.
const ANSWER_BYTES: usize = 1024;

/// Runs the scenario.
///
/// # Errors
/// Why it could not be run, in words.
pub(crate) fn run_request(context: &Context, args: &RequestArgs) -> Result<Outcome, String> {
    let size = args.exchange.size;
    let params = args.params.as_ref().map_or(size, String::len);
    let bytes = AROUND_BYTES + 2 * args.method.len() + params;
    run_exchange(context, &args.url, &args.exchange, bytes, |share, reach| {
        let format = context.format(size);
        Calls::new(format, &args.method, args.params.clone(), reach, context.seed(share.index))
    })
}

/// Calls of one method.
struct Calls {
    format: Format,
    /// `{"method":"echo","params":[`, or all up to the id if parameters were given.
    head: Vec<u8>,
    /// What stands between the text that is to come back and the id.
    tail: &'static [u8],
    /// The alphabet, over and over: what is to come back is a part of it, if that is looked at.
    letters: Option<String>,
    /// The id of the call at place 0. All ids have as many digits: frames are of one length.
    first_id: u64,
    ring: u64,
    random: Random,
}

/// An answer, as far as it matters here.
#[derive(Deserialize)]
struct Said {
    id: u64,
    result: Option<Value>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: Value,
    message: Value,
}

impl Calls {
    fn new(format: Format, method: &str, params: Option<String>, reach: Reach, seed: u64) -> Self {
        let method = Value::from(method);
        let head = format!(r#"{{"method":{method},"params":"#);
        let (head, tail, letters) = match params {
            Some(params) => (format!(r#"{head}{params},"id":"#), &b""[..], None),
            None => {
                let letters = ('a'..='z').cycle().take(format.size + 26).collect();
                (format!(r#"{head}[""#), &br#""],"id":"#[..], Some(letters))
            }
        };
        Self {
            format,
            head: head.into_bytes(),
            tail,
            letters,
            first_id: 10_u64.pow(reach.ring.ilog10() + 1),
            ring: reach.ring,
            random: Random::new(seed),
        }
    }

    /// What a call sends to have it sent back. That of its neighbours is another.
    fn text(&self, place: u64) -> Option<&str> {
        let from = usize::try_from(place % 26).ok()?;
        self.letters.as_deref()?.get(from..from + self.format.size)
    }

    fn place(&self, id: u64) -> Option<u64> {
        id.checked_sub(self.first_id).filter(|place| *place < self.ring)
    }

    /// Reads an answer that is as it should be and written as most servers do.
    #[inline]
    fn read_plain(&self, message: Message<'_>) -> Option<u64> {
        let rest = message.start.strip_prefix(br#"{"id":"#)?;
        let comma = rest.iter().take(20).position(|byte| *byte == b',')?;
        let (id, rest) = rest.split_at_checked(comma)?;
        let id = id.iter().try_fold(0_u64, |id, digit| {
            let digit = digit.wrapping_sub(b'0');
            (digit < 10).then(|| id.wrapping_mul(10).wrapping_add(u64::from(digit)))
        })?;
        let place = self.place(id)?;
        let result = rest.strip_prefix(br#","result":"#)?;
        let is_right = match self.text(place) {
            None => true,
            Some(text) => {
                let result = result.strip_prefix(b"\"")?.strip_suffix(b"\"}")?;
                result == text.as_bytes()
            }
        };
        is_right.then_some(place)
    }

    /// Reads any other.
    #[cold]
    fn read_any(&self, message: Message<'_>, errors: &mut ErrorLog) -> Option<Answer> {
        let said: Said = sonic_rs::from_slice(message.start).ok()?;
        let place = self.place(said.id)?;
        let mut is_failure = true;
        if let Some(Failure { code, message }) = said.error {
            let message = message.as_str().unwrap_or("without a message");
            errors.add("error_answer", || format!("{code} {message}"));
        } else if self.text(place).is_some_and(|text| said.result.as_str() != Some(text)) {
            errors.add("wrong_result", || excerpt(message.start));
        } else {
            is_failure = false;
        }
        Some(Answer { place, is_next: true, is_failure })
    }
}

impl Wording for Calls {
    const IN_ORDER: bool = false;

    fn append(&mut self, place: u64, out: &mut Vec<u8>) {
        let mut call = self.head.clone();
        call.extend_from_slice(self.text(place).unwrap_or_default().as_bytes());
        call.extend_from_slice(self.tail);
        call.extend_from_slice((self.first_id + place).to_string().as_bytes());
        call.push(b'}');
        let key = if self.format.random_mask { self.random.next() } else { 0 };
        let [a, b, c, d, ..] = key.to_le_bytes();
        ws::write_masked_frame(out, true, false, self.format.opcode(), &call, [a, b, c, d]);
    }

    #[inline]
    fn read(&self, message: Message<'_>, _next: u64, errors: &mut ErrorLog) -> Option<Answer> {
        match self.read_plain(message) {
            Some(place) => Some(Answer { place, is_next: true, is_failure: false }),
            None => self.read_any(message, errors),
        }
    }

    fn shown_bytes(&self) -> usize {
        self.format.size + ANSWER_BYTES
    }
}

/// The beginning of an answer, for people.
fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..120).unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(params: Option<&str>) -> Calls {
        let format = Format { binary: false, size: 5, random_mask: false };
        Calls::new(format, "echo", params.map(str::to_owned), Reach::of::<Calls>(5), 1)
    }

    fn sent(calls: &mut Calls, place: u64) -> String {
        let mut frame = Vec::new();
        calls.append(place, &mut frame);
        String::from_utf8(frame.split_off(6)).unwrap()
    }

    fn read(calls: &Calls, text: &str) -> (Option<Answer>, Vec<String>) {
        let mut errors = ErrorLog::default();
        let message = Message { length: text.len() as u64, start: text.as_bytes() };
        let answer = calls.read(message, 0, &mut errors);
        let kinds = errors.lines().into_iter();
        (answer, kinds.map(|line| format!("{}: {}", line.kind, line.example)).collect())
    }

    fn right(place: u64) -> (Option<Answer>, Vec<String>) {
        (Some(Answer { place, is_next: true, is_failure: false }), Vec::new())
    }

    #[test]
    fn calls_have_ids_of_one_length_and_texts_of_their_own() {
        let mut echo = calls(None);
        assert_eq!(sent(&mut echo, 0), r#"{"method":"echo","params":["abcde"],"id":100}"#);
        assert_eq!(sent(&mut echo, 15), r#"{"method":"echo","params":["pqrst"],"id":115}"#);
        let mut add = calls(Some("[1,2]"));
        assert_eq!(sent(&mut add, 3), r#"{"method":"echo","params":[1,2],"id":103}"#);
    }

    #[test]
    fn answers_are_known_by_their_ids_however_they_are_written() {
        let echo = calls(None);
        assert_eq!(read(&echo, r#"{"id":101,"result":"bcdef"}"#), right(1));
        assert_eq!(read(&echo, r#"{ "result": "b\u0063def", "id": 101 }"#), right(1));
        let any = calls(Some("[]"));
        assert_eq!(read(&any, r#"{"id":115,"result":{"a":[1]}}"#), right(15));
        assert_eq!(read(&any, r#"{"id":115}"#), right(15));
    }

    #[test]
    fn errors_and_wrong_results_are_failures() {
        let echo = calls(None);
        let failure = Some(Answer { place: 7, is_next: true, is_failure: true });
        let (answer, errors) =
            read(&echo, r#"{"id":107,"error":{"code":404,"message":"Not Found"}}"#);
        assert_eq!((answer, &*errors), (failure, &["error_answer: 404 Not Found".to_owned()][..]));
        for wrong in [r#"{"id":107,"result":"abcde"}"#, r#"{"id":107}"#] {
            let (answer, errors) = read(&echo, wrong);
            assert_eq!((answer, &*errors), (failure, &[format!("wrong_result: {wrong}")][..]));
        }
    }

    #[test]
    fn what_answers_no_call_is_foreign() {
        for foreign in [r#"{"pong":true}"#, r#"{"id":99,"result":1}"#, r#"{"id":116}"#, "hello", ""]
        {
            assert_eq!(read(&calls(None), foreign), (None, Vec::new()), "{foreign}");
        }
    }
}
