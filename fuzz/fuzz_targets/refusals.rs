#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ostia_fuzz::run("refusals", data));
