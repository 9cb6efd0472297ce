//! Span names: few, whatever clients send.

use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::http::StreamEnd;

const ROUTES: &str = r#""routes": ["/orders/{id}", "/files/**", "/"]"#;

#[test]
#[expect(clippy::type_complexity, reason = "a table")]
fn a_name_is_the_method_and_a_template() {
    // method, path, Envoy's route name, name, http.route
    let table: &[(&str, &str, &str, &str, Option<&str>, &str)] = &[
        ("GET", "/orders/7", "", "GET /orders/{id}", Some("/orders/{id}"), "a template of the configuration"),
        ("GET", "/orders/7?id=8", "", "GET /orders/{id}", Some("/orders/{id}"), "the query is no part of the path"),
        ("GET", "/orders/7#top", "", "GET /orders/{id}", Some("/orders/{id}"), "nor is a fragment"),
        ("POST", "/files/a/b.css", "", "POST /files/**", Some("/files/**"), "a template for the rest"),
        ("GET", "/", "", "GET /", Some("/"), "the root is a template when it is listed"),
        ("GET", "/users/7", "", "GET", None, "no template: the path is no name"),
        ("GET", "", "", "GET", None, "no path"),
        ("OPTIONS", "*", "", "OPTIONS", None, "the server as a whole"),
        ("GET", "/users/7", "/users/{id}", "GET /users/{id}", Some("/users/{id}"), "Envoy's route is a template"),
        ("GET", "/orders/7", "/o/{x}", "GET /orders/{id}", Some("/orders/{id}"), "the configuration's goes first"),
        ("GET", "/users/7", "users", "GET", None, "a route's name that is no path"),
        ("GET", "/users/7", "default", "GET", None, "as control planes give them"),
        ("GET", "/users/7", "/users?x", "GET", None, "a query is no template"),
        ("GET", "/users/7", "/users#x", "GET", None, "a fragment is no template"),
        ("GET", "/users/7", "/users x", "GET", None, "text with a space is no template"),
        ("BREW", "/orders/7", "", "HTTP /orders/{id}", Some("/orders/{id}"), "an unknown method is no name"),
        ("BREW", "/users/7", "", "HTTP", None, "an unknown method, and no template"),
        ("get", "/users/7", "", "HTTP", None, "methods are case-sensitive (RFC 9110 section 9.1)"),
        ("", "/users/7", "", "HTTP", None, "no method"),
        ("PATCH", "/users/7", "", "PATCH", None, "RFC 5789 is known"),
        ("QUERY", "/users/7", "", "HTTP", None, "not one of the conventions' default methods"),
    ];
    for (method, path, route_name, name, route, why) in table {
        let end = StreamEnd { route_name: route_name.as_bytes(), ..ended(200) };
        let traced = trace(&Setup::new("gateway").meshspan(ROUTES), &request(method, path), &end);
        let (server, client) = (traced.of_kind(SERVER), traced.of_kind(CLIENT));
        assert_eq!((server.name.as_str(), client.name.as_str()), (*name, *name), "{why}");
        let expected = route.map_or(json!({}), |route| json!({"http.route": route}));
        assert_eq!(attributes_under(server, &["http.route"]), expected, "{why}");
        assert_eq!(attributes_under(client, &["http.route"]), json!({}), "a server's: {why}");
        for role in ["server", "client"] {
            let traced = trace(&Setup::new(role).meshspan(ROUTES), &request(method, path), &end);
            assert_eq!(traced.span().name, *name, "{role}: {why}");
        }
    }
}

#[test]
fn without_templates_no_path_is_a_name() {
    let traced = trace(&Setup::new("server"), &request("GET", "/"), &ended(200));
    assert_eq!(traced.span().name, "GET");
}

#[test]
fn known_methods_are_the_configurations() {
    let setup = Setup::new("server").general(r#""http": {"server": {"known_methods": ["QUERY"]}}"#);
    let name = |method| trace(&setup, &request(method, "/a"), &ended(200)).span().name.clone();
    assert_eq!(name("QUERY"), "QUERY");
    assert_eq!(name("GET"), "HTTP", "the list overrides the conventions'");
}
