//! What holds for any bytes that come as a path, a content type, a timeout or a status.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::{InstrumentationConfig, MaskingConfig};
use crate::masking::Masker;
use crate::span::SpanKind;

fn some_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => "[a-zA-Z0-9_.-]{0,8}(/[a-zA-Z0-9_.-]{0,8}){0,3}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..300),
    ]
}

fn some_end() -> impl Strategy<Value = GrpcEnd> {
    let http_status =
        prop_oneof![Just(None), Just(Some(200)), (0..600_u64).prop_map(Some), any::<u64>().prop_map(Some)];
    let failure = select(vec![None, Some("UpstreamRemoteReset")]);
    (proptest::option::of(0..=16_u8), http_status, any::<bool>(), failure, any::<Option<u64>>()).prop_map(
        |(header, http_status, caller_left, failure, duration)| GrpcEnd {
            header_status: header.and_then(GrpcStatus::from_code),
            http_status,
            caller_left,
            failure,
            duration,
        },
    )
}

proptest! {
    #[test]
    fn a_method_is_its_service_and_its_name(name in some_name()) {
        if let Some(GrpcMethod { service, method }) = GrpcMethod::parse(&name) {
            prop_assert_eq!([service, b"/", method].concat(), name.clone());
            prop_assert!(!service.is_empty() && !method.is_empty() && !method.contains(&b'/'));
            prop_assert!(name.len() <= LONGEST_METHOD && name.is_ascii());
        }
    }

    #[test]
    fn only_the_type_itself_is_grpc(value in "[a-z/+;-]{0,30}", upper in any::<bool>()) {
        let typed = format!("application/grpc{value}");
        let typed = if upper { typed.to_uppercase() } else { typed };
        let expected = ["", "-web", "-web-text"].iter().any(|form| {
            value.strip_prefix(form).is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
        });
        prop_assert_eq!(GrpcProtocol::of_content_type(typed.as_bytes()).is_some(), expected, "{}", typed);
    }

    #[test]
    fn a_timeout_is_as_long_as_it_says(count in 0..100_000_000_u64, unit in select(vec![('S', 1_000_000_000), ('n', 1)])) {
        let (unit, ns) = unit;
        prop_assert_eq!(parse_timeout(format!("{count}{unit}").as_bytes()), Some(count * ns));
    }

    #[test]
    fn any_bytes_are_a_timeout_or_none(value in vec(any::<u8>(), 0..12)) {
        if parse_timeout(&value).is_some() {
            prop_assert!((2..=9).contains(&value.len()));
        }
    }

    #[test]
    fn a_call_has_one_end(
        name in some_name(),
        web in any::<bool>(),
        timeout in proptest::option::of(any::<u64>()),
        trailer in proptest::option::of(vec(any::<u8>(), 0..4)),
        end in some_end(),
    ) {
        let protocol = if web { GrpcProtocol::Web } else { GrpcProtocol::Grpc };
        let mut call = GrpcCall::new(&GrpcRequest { protocol, name: &name, timeout });
        if let Some(trailer) = &trailer {
            call.set_trailer_status(trailer);
        }
        let outcome = call.outcome(&end);
        let given = trailer.as_deref().map(GrpcStatus::parse).or(end.header_status);
        if given.is_some() {
            prop_assert_eq!(outcome.status, given, "what was said holds");
        } else {
            prop_assert_ne!(outcome.status, Some(GrpcStatus::OK), "nobody is told that all is well who was not told");
        }
        prop_assert!(outcome.status.is_some() || web, "only gRPC-Web hides it");
        if outcome.failed(SpanKind::Server) {
            prop_assert!(outcome.failed(SpanKind::Client), "a caller fails with its server");
        }
    }

    #[test]
    fn what_is_called_has_a_name_or_is_kept_apart(
        calls in vec((some_name(), prop_oneof![Just(None), (0..=16_u8).prop_map(Some)]), 0..200),
    ) {
        let masker = Masker::new(&MaskingConfig::default(), &InstrumentationConfig::default());
        let mut known = KnownMethods::new(None);
        let mut names = BTreeSet::new();
        for (name, status) in &calls {
            let call = GrpcCall::new(&GrpcRequest { protocol: GrpcProtocol::Grpc, name, timeout: None });
            let end = GrpcEnd { header_status: status.and_then(GrpcStatus::from_code), ..GrpcEnd::default() };
            let facts = call.facts(&end, &mut known, &masker);
            prop_assert_eq!(facts.is_known, facts.original.is_none());
            prop_assert_eq!(facts.is_known, facts.service.is_some());
            if facts.outcome.status == Some(GrpcStatus::UNIMPLEMENTED) && !names.contains(name) {
                prop_assert!(!facts.is_known, "what no server has has no name");
            }
            if facts.is_known {
                names.insert(name.clone());
            }
        }
    }
}
