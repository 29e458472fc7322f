//! What the server answers over HTTP: its health, pages for people, and the way to the WebSocket.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::{Path, State, ws::WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use nonstop_wire::{MAX_MESSAGE, PROTOCOL_VERSION, RoomName};
use serde::Serialize;
use tokio_util::task::TaskTracker;

use crate::{
    connection::{self, House},
    doors::Pass,
    ice::Reached,
    pages,
};

/// What a connection reads at a time; most messages fit.
const READ_BUFFER: usize = 8 * 1024;

/// Through which door a request came.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    /// Held for as long as the connection is.
    pub(crate) pass: Arc<Pass>,
    /// The server's own address on this connection.
    pub(crate) address: SocketAddr,
}

/// Routes requests; WebSockets are counted by `sockets` until they end.
pub(crate) fn router(house: Arc<House>, sockets: TaskTracker) -> Router {
    Router::new()
        .route("/", get(pages::home))
        .route("/healthz", get(health))
        .route("/signalling", get(signalling))
        .route("/{room}", get(room))
        .fallback(pages::nowhere)
        .with_state((house, sockets))
}

/// The answer of `GET /healthz`.
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    protocol: u32,
    rooms: usize,
    participants: usize,
    relayed: usize,
}

async fn health(State((house, _)): State<(Arc<House>, TaskTracker)>) -> Response {
    match house.reception.census().await {
        Some(census) => Json(Health {
            status: "ok",
            version: env!("CARGO_PKG_VERSION"),
            protocol: PROTOCOL_VERSION,
            rooms: census.rooms,
            participants: census.participants,
            relayed: census.relayed,
        })
        .into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn room(Path(room): Path<String>) -> Response {
    match room.parse::<RoomName>() {
        Ok(room) => pages::room(&room),
        Err(_) => pages::nowhere().await,
    }
}

async fn signalling(
    State((house, sockets)): State<(Arc<House>, TaskTracker)>,
    Extension(door): Extension<Door>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let counted = sockets.token();
    let host = headers.get(header::HOST);
    let reached = Reached {
        host: host.and_then(|host| host.to_str().ok()?.parse().ok()),
        address: door.address,
    };
    upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .on_upgrade(async move |socket| {
            connection::serve(socket, house, reached).await;
            drop((counted, door));
        })
}
