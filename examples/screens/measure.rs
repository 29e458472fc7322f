//! What a window costs: says once a second how often it was painted and what that took.

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
    processor: Duration,
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
                processor: processor_time(),
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
        let begun = clock::now();
        self.app.ui(ui, frame);
        let took = clock::now() - begun;
        self.paints += 1;
        self.painting += took;
        self.longest = self.longest.max(took);
        let elapsed = begun - self.since;
        if elapsed < Duration::from_secs(1) {
            return;
        }
        let processor = processor_time();
        println!(
            "{:.1} paints a second, {:.2} ms each in our code (longest {:.2}), process {:.0} % of a core",
            f64::from(self.paints) / elapsed.as_secs_f64(),
            self.painting.as_secs_f64() * 1e3 / f64::from(self.paints),
            self.longest.as_secs_f64() * 1e3,
            (processor - self.processor).as_secs_f64() * 100.0 / elapsed.as_secs_f64(),
        );
        (self.since, self.processor) = (begun, processor);
        (self.paints, self.painting, self.longest) = (0, Duration::ZERO, Duration::ZERO);
    }
}

/// Returns the processor time of this process, where the system tells it (Linux).
fn processor_time() -> Duration {
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else {
        return Duration::ZERO;
    };
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
