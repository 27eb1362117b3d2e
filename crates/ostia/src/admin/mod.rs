//! (beside the path)
