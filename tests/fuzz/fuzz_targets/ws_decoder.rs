//! Frames of any bytes, cut anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fulmar_proto::fuzzing::fuzz_ws_decoder(data));
