//! Request heads and WebSocket upgrades of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fulmar_proto::fuzzing::fuzz_upgrade_request(data));
