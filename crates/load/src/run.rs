//! One run: people arrive, settle, are counted, and leave.

use std::{
    fs,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use nonstop_wire::ParticipantId;
use tokio::{
    runtime::Builder,
    sync::watch,
    task::{JoinSet, LocalSet},
    time::sleep,
};

use crate::{
    clock,
    janus::Stranger,
    options::Options,
    participant::Participant,
    process::{self, Usage},
    recording::Recording,
    report::{self, Report},
    scene::{Phase, Scene, Summary},
};

/// How long everybody together may take to connect, after the last arrived.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// Does what the command line says, and reports.
pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let options = Arc::new(options);
    let (phase, watching) = watch::channel(Phase::Arriving);
    let connected = Arc::new(AtomicUsize::new(0));
    let brought = Arc::default();
    let before = options.server_pid.and_then(process::usage);
    let threads: Vec<_> = (0..usize::from(options.threads))
        .map(|thread| {
            let (options, watching, connected) = (
                Arc::clone(&options),
                watching.clone(),
                Arc::clone(&connected),
            );
            let brought = Arc::clone(&brought);
            thread::Builder::new()
                .name(format!("load {thread}"))
                .spawn(move || crowd(thread, &options, &watching, &connected, brought))
        })
        .collect::<Result<_, _>>()?;
    let began = clock::now();
    let all = || {
        connected.load(Ordering::Relaxed) >= options.people
            || threads.iter().any(thread::JoinHandle::is_finished)
    };
    while !all() && clock::now() < began + options.join_over + PATIENCE {
        thread::sleep(LOOK);
    }
    let there = connected.load(Ordering::Relaxed);
    let took = clock::now().saturating_duration_since(began);
    thread::sleep(options.settle);
    let server = || options.server_pid.and_then(process::usage);
    let own = || process::usage(std::process::id()).unwrap_or_default();
    let (server_begin, own_begin, counting) = (server(), own(), clock::now());
    phase.send_replace(Phase::Counting);
    thread::sleep(options.lasting);
    let (server_end, own_end, counted) = (server(), own(), clock::now());
    phase.send_replace(Phase::Over);
    let mut summaries: Vec<Summary> = Vec::new();
    for thread in threads {
        let ended = thread.join();
        summaries.extend(ended.map_err(|_| anyhow::anyhow!("a thread failed"))??);
    }
    summaries.sort_by_key(|summary| summary.index);
    let spent = |begin: Usage, end: Usage| end.cpu.saturating_sub(begin.cpu);
    let report = Report {
        connected: there,
        connecting: took,
        lasted: counted.saturating_duration_since(counting),
        own_cpu: spent(own_begin, own_end),
        server_cpu: server_begin
            .zip(server_end)
            .map(|(begin, end)| spent(begin, end)),
        server_memory: before
            .zip(server_end)
            .map(|(before, end)| (before.memory, end.memory)),
        summaries,
    };
    report::print(&report);
    if let Some(path) = &options.json {
        fs::write(path, report::json(&report)).with_context(|| path.display().to_string())?;
    }
    if there < options.people {
        let why = report
            .summaries
            .iter()
            .find_map(|summary| summary.failure.as_deref());
        bail!(
            "{there} of {} connected: {}",
            options.people,
            why.unwrap_or("no answer")
        );
    }
    Ok(())
}

/// The participants of one thread, every so many-th of all.
fn crowd(
    thread: usize,
    options: &Arc<Options>,
    phase: &watch::Receiver<Phase>,
    connected: &Arc<AtomicUsize>,
    brought: Arc<Mutex<Vec<ParticipantId>>>,
) -> anyhow::Result<Vec<Summary>> {
    let recording = match &options.recording {
        Some(path) => {
            Recording::read(&fs::read(path).with_context(|| path.display().to_string())?)?
        }
        None => Recording::own()?,
    };
    // A room of Janus has one layer here.
    let only = (options.only_layer).or(options.janus.is_some().then_some(0));
    let recording = match only {
        Some(layer) => recording.only(usize::from(layer))?,
        None => recording.at_most(usize::from(options.layers)),
    };
    let scene = Scene {
        options: Arc::clone(options),
        recording: Rc::new(recording),
        phase: phase.clone(),
        connected: Arc::clone(connected),
        brought,
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let everybody = LocalSet::new();
    everybody.block_on(&runtime, async {
        let mut people = JoinSet::new();
        for index in (thread..options.people).step_by(options.threads.into()) {
            let scene = scene.clone();
            let people_before = u32::try_from(index)?;
            let wait = options.join_over * people_before / u32::try_from(options.people)?.max(1);
            people.spawn_local(async move {
                sleep(wait).await;
                if scene.options.janus.is_some() {
                    return Box::pin(Stranger::new(scene, index).take_part()).await;
                }
                match Participant::new(scene, index) {
                    Ok(participant) => Box::pin(participant.take_part()).await,
                    Err(error) => Summary {
                        index,
                        failure: Some(format!("{error:#}")),
                        ..Summary::default()
                    },
                }
            });
        }
        Ok(people.join_all().await)
    })
}
