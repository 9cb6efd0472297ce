//! A configuration as the bytes of a `google.protobuf.Struct`: what `prost` reads of it is what is read here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::config::Config;
use prost::Message;
use prost_types::Struct;

fuzz_target!(|data: &[u8]| {
    let read = Config::from_plugin_configuration(data);
    assert_eq!(Config::from_plugin_configuration(data), read, "reading is deterministic");
    if let Ok(config) = read
        && !data.starts_with(b"{")
        && let Ok(message) = Struct::decode(data)
        && message.encode_to_vec().len() == data.len()
    {
        // Written again by the judge it says the same.
        assert_eq!(Config::from_plugin_configuration(&message.encode_to_vec()), Ok(config));
    }
});
