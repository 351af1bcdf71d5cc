//! One call of alien-rpc from the command line.

use std::io::{self, Write};

use fulmar_client::{Client, ClientError, ClientOptions, Retry};
use sonic_rs::Value;

use crate::cli::CallArgs;

/// Makes the call and prints what comes of it.
///
/// # Errors
/// Why nothing came of it, in words: the server's error, no connection, no answer in time.
pub(crate) fn run_call(args: &CallArgs) -> Result<(), String> {
    let said = |error: ClientError| error.to_string();
    // Whoever types a command tries again on their own.
    let options = ClientOptions { retry: Retry::from(0), ..ClientOptions::default() };
    let client = Client::new(&args.url, options).map_err(said)?;
    let params: Vec<Value> = sonic_rs::from_str(&args.params).map_err(|error| error.to_string())?;
    let call = client.call(&args.method).args(params).timeout(args.timeout);
    if args.notify {
        return call.notify().map_err(said);
    }
    if !args.subscribe {
        return print(&call.request().map_err(said)?).map_err(|error| error.to_string());
    }
    for item in call.subscribe::<Value>().map_err(said)? {
        if print(&item.map_err(said)?).is_err() {
            // The reader went away and wants no more.
            break;
        }
    }
    Ok(())
}

fn print(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}
