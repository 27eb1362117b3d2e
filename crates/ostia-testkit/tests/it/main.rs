//! Whole-gateway tests: a real gateway between a raw client and scripted backends.

mod baseline;
