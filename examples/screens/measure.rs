//! What a window costs: says once a second how often it was painted, and what processor time a paint
//! took: in our code, and in all of the window's thread, where the picture is drawn.

use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use nonstop::{
    call::{Commands, View},
    clock,
    latest::Reader,
    ui::App,
};

/// The window, watched.
struct Watched {
    app: App,
    since: Instant,
    process: Duration,
    thread: Duration,
    paints: u32,
    painting: Duration,
    longest: Duration,
}

/// Opens the window and stays until it is closed.
pub(crate) fn run(view: Reader<View>, commands: Commands) -> ExitCode {
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Nonstop")
            .with_inner_size([1920.0, 1080.0]),
        ..eframe::NativeOptions::default()
    };
    let opened = eframe::run_native(
        "Nonstop",
        options,
        Box::new(|creation| {
            Ok(Box::new(Watched {
                app: App::new(&creation.egui_ctx, view, commands),
                since: clock::now(),
                process: process_time(),
                thread: thread_time(),
                paints: 0,
                painting: Duration::ZERO,
                longest: Duration::ZERO,
            }))
        }),
    );
    match opened {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

impl eframe::App for Watched {
    fn logic(&mut self, context: &egui::Context, frame: &mut eframe::Frame) {
        self.app.logic(context, frame);
    }

    fn ui(&mut self, ui: &mut egui::Ui, frame: &mut eframe::Frame) {
        let begun = thread_time();
        self.app.ui(ui, frame);
        let took = thread_time().saturating_sub(begun);
        self.paints += 1;
        self.painting += took;
        self.longest = self.longest.max(took);
        let now = clock::now();
        let elapsed = now - self.since;
        if elapsed < Duration::from_secs(1) {
            return;
        }
        let (process, thread) = (process_time(), thread_time());
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let paints = f64::from(self.paints);
        println!(
            "{:.1} paints a second; {:.2} ms a paint in our code (longest {:.2}), {:.1} ms in all of its thread; process {:.0} % of a core",
            paints / elapsed.as_secs_f64(),
            millis(self.painting) / paints,
            millis(self.longest),
            millis(thread.saturating_sub(self.thread)) / paints,
            millis(process.saturating_sub(self.process)) / elapsed.as_secs_f64() / 10.0,
        );
        (self.since, self.process, self.thread) = (now, process, thread);
        (self.paints, self.painting, self.longest) = (0, Duration::ZERO, Duration::ZERO);
    }
}

/// Returns the processor time of this thread, where the system tells it (Linux).
fn thread_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next();
    Duration::from_nanos(nanos.and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// Returns the processor time of this process, likewise.
fn process_time() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
