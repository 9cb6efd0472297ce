//! Context in and out of headers, one file a format.
