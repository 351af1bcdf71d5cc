//! permessage-deflate: negotiation, compression, inflation of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fulmar_proto::fuzzing::fuzz_deflate(data));
