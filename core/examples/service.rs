//! A service with shared state: handlers take what they need by type, hooks see connections come
//! and go, and whoever wants to be told of something is put into a room.
//!
//! ```text
//! cargo run --release -p fulmar --example service
//! ```
//! Send `buy tea 3`, `stock tea` or `watch tea` to `ws://127.0.0.1:9000/shop`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use fulmar::text::Text;
use fulmar::{Arg, CallError, Connection, Endpoint, Error, Local, Result, Server, State};

#[derive(Default)]
struct Shop {
    stock: Mutex<HashMap<String, u32>>,
}

/// What one connection has bought; dropped when it has ended.
#[derive(Default)]
struct Basket(Vec<String>);

#[expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]
fn order(
    shop: State<Shop>,
    peer: Connection,
    basket: Local<Basket>,
    Arg(line): Arg<String>,
) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["buy", what, count] => {
            let left = shop.take(what, count.parse()?)?;
            peer.room(&format!("stock/{what}"))
                .publish("stock", &format!("{what}: {left} left"))?;
            let bought = basket.with(|basket| {
                basket.0.push(what.to_owned());
                basket.0.len()
            });
            Ok(format!("{count} {what}, your order number {bought}"))
        }
        ["stock", what] => Ok(format!("{what}: {} left", shop.left(what))),
        ["watch", what] => {
            // Takes effect before this answer arrives, so nothing after it is missed.
            drop(peer.join(&format!("stock/{what}")));
            Ok(format!("watching {what}"))
        }
        _ => Ok("say: buy WHAT COUNT, stock WHAT, or watch WHAT".to_owned()),
    }
}

impl Shop {
    fn take(&self, what: &str, count: u32) -> Result<u32> {
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        let left = stock.get_mut(what).ok_or_else(|| CallError::with_code(404, "no such thing"))?;
        *left = left.checked_sub(count).ok_or_else(|| CallError::with_code(409, "sold out"))?;
        Ok(*left)
    }

    fn left(&self, what: &str) -> u32 {
        let stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        stock.get(what).copied().unwrap_or_default()
    }
}

fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let shop = Shop::default();
    let goods = [("tea".to_owned(), 100), ("coffee".to_owned(), 50)];
    shop.stock.lock().unwrap_or_else(PoisonError::into_inner).extend(goods);
    let endpoint = Endpoint::new("/shop")
        .speaks(Text::default())
        .on_message(order)
        .on_connect(|peer: Connection| eprintln!("{} came", peer.peer_address()))
        .on_disconnect(|peer: Connection| eprintln!("{} left", peer.peer_address()));
    Server::new(shop).mount(endpoint).run(address)
}
