//! Every integration test, in one binary.

mod full_scan;
