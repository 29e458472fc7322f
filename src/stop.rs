//! The ways in which a program without a window is told to end.

use std::{io, thread};

use tokio::sync::oneshot;

/// Waits until the person or the system asks this program to end: Ctrl-C, or the signal that
/// asks to terminate. With `end_with_stdin`, also until standard input ends, which it does when
/// the program that started this one is gone, however it went.
pub async fn requested(end_with_stdin: bool) {
    let stdin = async {
        if end_with_stdin {
            stdin_ended().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = interrupted() => {}
        () = terminated() => {}
        () = stdin => {}
    }
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending::<()>().await;
}

/// A thread of its own reads: it may stay there until the process ends.
async fn stdin_ended() {
    let (sender, receiver) = oneshot::channel::<()>();
    let reading = thread::Builder::new().name("stdin".into()).spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(sender);
    });
    match reading {
        Ok(_) => {
            let _ = receiver.await;
        }
        Err(_) => std::future::pending().await,
    }
}
