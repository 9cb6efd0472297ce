//! Configuration: what is accepted holds what its type promises; what is refused says where and why, bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::config::Config;

fuzz_target!(|data: &[u8]| {
    match Config::from_json(data) {
        Ok(config) => {
            let document = serde_json::from_slice::<serde_json::Value>(data);
            assert!(
                document.is_ok_and(|document| document.is_object()),
                "only JSON objects are accepted"
            );
            let mut propagators = config.propagators.clone();
            propagators.sort_unstable();
            propagators.dedup();
            assert_eq!(
                propagators.len(),
                config.propagators.len(),
                "each propagator once"
            );
            for processor in config.tracer.iter().flat_map(|tracer| &tracer.processors) {
                let batch = processor.batch;
                assert!(batch.max_queue_size >= 1);
                assert!((1..=batch.max_queue_size).contains(&batch.max_export_batch_size));
                assert!(!processor.exporter.endpoint.cluster.is_empty());
                for (name, _) in &processor.exporter.headers {
                    assert_eq!(*name, name.to_ascii_lowercase());
                }
            }
            assert_eq!(
                Config::from_json(data),
                Ok(config),
                "reading is deterministic"
            );
        }
        Err(errors) => {
            assert!(errors.total() >= 1);
            assert!(errors.iter().count() <= errors.total());
            let text = errors.to_string();
            assert!(
                !text.is_empty() && text.len() < 64 * 1024,
                "the report is bounded"
            );
        }
    }
});
