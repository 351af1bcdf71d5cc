//! Which kernel interface the binary uses, what it says of it, and what it does where one of them
//! is forbidden.

use fulmar_tests::client::Client;
use fulmar_tests::server::{Binary, io, without_io_uring};

const ONE: &str = "shards = 1\nworkers = 1\n";

/// What the line about the interface says.
fn told(server: &Binary) -> String {
    let log = server.log();
    let line = log.iter().find_map(|line| line.strip_prefix("io "));
    line.unwrap_or_else(|| panic!("no line about it: {log:#?}")).trim().to_owned()
}

fn serves(server: &Binary) {
    let mut client = Client::open(server.address(), "/echo");
    client.text("here");
    assert_eq!(client.expect_text(), "here");
}

#[test]
fn the_interface_that_was_asked_for_is_used() {
    let server = Binary::start(ONE, &[]);
    match io() {
        fulmar::Io::Auto => assert!(told(&server).starts_with("io_uring: ")),
        asked => assert_eq!(told(&server), format!("{asked}: as configured")),
    }
    serves(&server);
}

#[test]
fn auto_falls_back_to_epoll_and_says_why() {
    for (error, why) in [("EPERM", "forbidden"), ("ENOSYS", "built without it")] {
        let server = Binary::start_without_io_uring(error, ONE, &[]);
        let told = told(&server);
        assert!(told.starts_with("epoll: no io_uring: ") && told.contains(why), "{told}");
        serves(&server);
    }
}

#[test]
fn epoll_does_not_care() {
    let server = Binary::start_without_io_uring("EPERM", ONE, &["--io", "epoll"]);
    assert_eq!(told(&server), "epoll: as configured");
    serves(&server);
}

#[test]
fn io_uring_by_name_is_refused_with_the_reason_where_it_is_forbidden() {
    let mut command = without_io_uring("EPERM");
    let output = command.args(["--io", "io_uring", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "an invalid configuration");
    let said = String::from_utf8(output.stderr).unwrap();
    for words in ["io: ", "io_uring", "seccomp", "auto", "epoll"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_shard_that_looks_for_work_answers_and_stops_as_any_other() {
    let mut server = Binary::start(ONE, &["--set", "busy_poll=200ms"]);
    let mut clients: Vec<_> =
        (0..3).map(|_| Client::open(server.address(), "/rooms/busy")).collect();
    for round in 0..20 {
        clients[round % 3].text("look");
        for other in [(round + 1) % 3, (round + 2) % 3] {
            assert_eq!(clients[other].expect_text(), "look");
        }
    }
    server.signal(rustix::process::Signal::TERM);
    let status = server.wait(fulmar_tests::PATIENCE).and_then(|status| status.code());
    assert_eq!(status, Some(0));
}
