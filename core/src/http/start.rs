//! The attributes of a span that are known when it starts, looked up one by one: what sampling rules ask for.
//!
//! Each has the value that the span's attribute of that name would have, before masking: a rule's answer never leaves
//! the proxy.

use super::address::{default_port, split};
use super::attributes::SpanShape;
use super::request::RequestHead;
use super::route::RouteTable;
use crate::config::StartAttribute;
use crate::sampling::StartAttributes;
use crate::span::SpanKind;

/// A span that may come to be.
pub(super) struct SpanStart<'a> {
    pub(super) head: &'a RequestHead<'a>,
    pub(super) shape: &'a SpanShape,
    pub(super) routes: &'a RouteTable,
}

impl StartAttributes for SpanStart<'_> {
    fn any(&self, attribute: &StartAttribute, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let head = self.head;
        let mut there = |value: &[u8]| !value.is_empty() && test(value);
        match attribute {
            StartAttribute::Method => match self.shape.known_method(head.method) {
                Some(method) => there(method.as_bytes()),
                None => there(b"_OTHER"),
            },
            StartAttribute::Path => there(head.path_and_query().0),
            StartAttribute::Query => head.path_and_query().1.is_some_and(there),
            StartAttribute::Scheme => there(head.scheme()),
            StartAttribute::Route => {
                self.routes.find(head.path_and_query().0).is_some_and(|template| there(template.as_bytes()))
            }
            StartAttribute::ServerAddress => split(head.authority).is_some_and(|server| there(server.host)),
            StartAttribute::ServerPort => {
                let implied = || if self.shape.kind() == SpanKind::Client { default_port(head.scheme()) } else { None };
                let port = split(head.authority).and_then(|server| server.port.or_else(implied));
                port.is_some_and(|port| there(port.to_string().as_bytes()))
            }
            StartAttribute::UserAgent => head.user_agent.is_some_and(test),
            StartAttribute::Header(name) => head.values(name).any(test),
            StartAttribute::RpcSystem => head.grpc().is_some() && there(b"grpc"),
            StartAttribute::RpcMethod => head.grpc().is_some_and(|call| call.method().is_some() && there(call.name)),
            StartAttribute::RpcService => {
                head.grpc().and_then(|call| call.method()).is_some_and(|method| there(method.service))
            }
            StartAttribute::UpstreamCluster => there(head.cluster),
            StartAttribute::RouteName => there(head.route_name),
            // What is asked of the resource is settled at configuration.
            StartAttribute::Resource(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config::InstrumentationConfig;
    use StartAttribute::{
        Header, Method, Path, Query, Route, RouteName, RpcMethod, RpcService, RpcSystem, Scheme, ServerAddress,
        ServerPort, UpstreamCluster, UserAgent,
    };

    fn values(kind: SpanKind, lines: &[(&str, &str)], attribute: &StartAttribute) -> Vec<String> {
        let config = InstrumentationConfig::default();
        let lines = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let head = RequestHead::collect(lines, true).with_routing(b"outbound|80||cart", b"/cart");
        let start = SpanStart {
            head: &head,
            shape: &SpanShape::new(kind, &config),
            routes: &RouteTable::new(&["/users/{id}".to_owned()]),
        };
        let mut values = Vec::new();
        let collected = start.any(attribute, &mut |value| {
            values.push(String::from_utf8_lossy(value).into_owned());
            false
        });
        assert!(!collected);
        values
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table")]
    fn values_are_those_of_the_span() {
        let request = [
            (":method", "GET"),
            (":path", "/users/7?a=b#c"),
            (":authority", "shop.example:8080"),
            (":scheme", "http"),
            ("x-forwarded-proto", "https"),
            ("user-agent", "curl/8"),
            ("x-tenant", "a"),
            ("x-tenant", "b"),
        ];
        let bare = [(":method", "get"), (":path", ""), (":scheme", "http"), (":authority", "shop.example")];
        let grpc = [(":method", "POST"), (":path", "/shop.Cart/AddItem"), ("content-type", "application/grpc+proto")];
        let web = [(":method", "POST"), (":path", "/shop.Cart/AddItem"), ("content-type", "application/grpc-web")];
        let odd = [(":path", "/AddItem"), ("content-type", "application/grpc")];
        let table: &[(&[(&str, &str)], StartAttribute, &[&str], &str)] = &[
            (&request, Method, &["GET"], "a known method"),
            (&bare, Method, &["_OTHER"], "methods are case-sensitive"),
            (&request, Path, &["/users/7"], "without query and fragment"),
            (&bare, Path, &[], "none"),
            (&request, Query, &["a=b"], "without its mark"),
            (&bare, Query, &[], "none"),
            (&request, Scheme, &["https"], "what the client used"),
            (&bare, Scheme, &["http"], "as it stands"),
            (&request, Route, &["/users/{id}"], "a template"),
            (&grpc, Route, &[], "no template fits"),
            (&request, ServerAddress, &["shop.example"], "the host"),
            (&grpc, ServerAddress, &[], "no authority"),
            (&request, ServerPort, &["8080"], "a number as text"),
            (&bare, ServerPort, &[], "a server span leaves out a port that the client left out"),
            (&request, UserAgent, &["curl/8"], "the header"),
            (&bare, UserAgent, &[], "no header"),
            (&request, Header("x-tenant".to_owned()), &["a", "b"], "each line"),
            (&bare, Header("x-tenant".to_owned()), &[], "no line"),
            (&grpc, RpcSystem, &["grpc"], "by the content type"),
            (&grpc, RpcMethod, &["shop.Cart/AddItem"], "service and method"),
            (&grpc, RpcService, &["shop.Cart"], "the service with its package"),
            (&web, RpcMethod, &["shop.Cart/AddItem"], "gRPC-Web is gRPC too"),
            (&request, RpcSystem, &[], "no gRPC"),
            (&odd, RpcMethod, &[], "no service in the path"),
            (&odd, RpcSystem, &["grpc"], "but gRPC it is"),
            (&request, UpstreamCluster, &["outbound|80||cart"], "what Envoy says"),
            (&request, RouteName, &["/cart"], "what Envoy says"),
        ];
        for (lines, attribute, expected, why) in table {
            assert_eq!(values(SpanKind::Server, lines, attribute), *expected, "{attribute:?}: {why}");
        }
        assert_eq!(values(SpanKind::Client, &bare, &ServerPort), ["80"], "a client span says the implied port");
    }
}
