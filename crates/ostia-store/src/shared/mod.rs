//! What is the same for both databases. Each file here is compiled once for each database (`#[path]` in `sqlite` and
//! `postgres`): it uses types of `super::engine`, and its statements number their parameters (`$1`), which both accept.
//!
//! To add a table: 1. a migration for each database, with the same names and the types of the table below; 2. a file here
//! with its statements; 3. its functions in the trait `Store` and in `implement_store!`. `ostia db copy`, `backup` and
//! `restore` find it by themselves.
//!
//! | SQLite | PostgreSQL | in Rust |
//! |---|---|---|
//! | `TEXT` | `TEXT` | `String`, `&str` |
//! | `INTEGER` | `BIGINT` | `i64`; times are Unix microseconds |
//! | `INTEGER` | `BOOLEAN` | `bool` |
//! | `BLOB` | `BYTEA` | `Vec<u8>`, `&[u8]` |
//!
//! Only `ledger` has `UUID` and `TIMESTAMPTZ` in PostgreSQL, which are `engine::Id` and `engine::Stamp`.
