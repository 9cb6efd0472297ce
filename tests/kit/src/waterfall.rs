//! Received spans as a picture for a terminal.
