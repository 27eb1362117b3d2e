//! What must not compile: sending to a backend without the right to, or without a record of it.

#[test]
fn stages_cannot_be_skipped() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
