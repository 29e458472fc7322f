//! Pages for people. Each is complete in itself, and the policy sent with it allows nothing but
//! its own style and script.

use std::sync::LazyLock;

use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use nonstop_wire::RoomName;
use sha2::{Digest, Sha256};

static HOME: LazyLock<Page> = LazyLock::new(|| Page::new(include_str!("pages/home.html")));
static ROOM: LazyLock<Page> = LazyLock::new(|| Page::new(include_str!("pages/room.html")));
static NOWHERE: LazyLock<Page> = LazyLock::new(|| Page::new(include_str!("pages/nowhere.html")));

/// What stands for the room's name in its page.
const ROOM_PLACE: &str = "{{room}}";

/// Answers `/`.
pub(crate) async fn home() -> Response {
    HOME.answer(StatusCode::OK, HOME.html.clone())
}

/// Answers the address of a meeting link. What follows `#` in it stays in the browser.
pub(crate) fn room(room: &RoomName) -> Response {
    ROOM.answer(StatusCode::OK, ROOM.html.replace(ROOM_PLACE, room.as_str()))
}

/// Answers every address that is not one.
pub(crate) async fn nowhere() -> Response {
    NOWHERE.answer(StatusCode::NOT_FOUND, NOWHERE.html.clone())
}

struct Page {
    html: String,
    policy: String,
}

impl Page {
    /// Puts the common style into a page.
    fn new(html: &str) -> Self {
        let html = html.replace("{{style}}", include_str!("pages/style.css"));
        let allowed = |tag: &str| match content(&html, tag) {
            Some(text) => format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text))),
            None => "'none'".to_owned(),
        };
        let policy = format!(
            "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
            allowed("style"),
            allowed("script"),
        );
        Self { html, policy }
    }

    fn answer(&self, status: StatusCode, html: String) -> Response {
        let headers = [
            (header::CONTENT_SECURITY_POLICY, self.policy.as_str()),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (status, headers, Html(html)).into_response()
    }
}

/// Returns what stands between the first `<tag>` and its end.
fn content<'a>(html: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = html.split_once(&format!("<{tag}>"))?;
    let (text, _) = rest.split_once(&format!("</{tag}>"))?;
    Some(text)
}
