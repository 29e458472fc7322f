//! Microphone and speaker through a real sound system.
//!
//! Sound servers: a private PulseAudio is started, its speaker's monitor is our microphone, and
//! this binary runs its own ignored tests inside. Where `pulseaudio` is not installed, nothing
//! is tested, and a line says so.
//!
//! Kernel drivers: inside the virtual machine of `make devices` (`NONSTOP_DEVICES_VM` is set),
//! the same is done through ALSA and its loopback card, whose default output is heard at the
//! card's second device.

use std::{
    env,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nonstop::{
    clock,
    media::{
        AudioSink, AudioSource, DeviceTrouble, EncodedAudio, Way,
        audio::{Audio, AudioConfig, AudioState, Processing, Voice, VoicePacket, devices},
    },
};
use tokio::sync::mpsc::Receiver;

/// Generous: other builds and tests run beside this.
const PATIENCE: Duration = Duration::from_secs(60);
const TONE_HERTZ: f32 = 440.0;

// ---------------------------------------------------------------- a private sound server

struct SoundServer {
    folder: tempfile::TempDir,
    daemon: Child,
}

impl SoundServer {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("native");
        let daemon = Command::new("pulseaudio")
            .args([
                "-n",
                "--daemonize=no",
                "--exit-idle-time=120",
                "--use-pid-file=no",
            ])
            .args(["--disable-shm=yes", "--log-level=error"])
            .arg("-L")
            .arg(format!(
                "module-native-protocol-unix auth-anonymous=1 socket={}",
                socket.display()
            ))
            .args([
                "-L",
                "module-null-sink sink_name=speaker sink_properties=device.description=Loudspeaker",
            ])
            .env("HOME", folder.path())
            .env("PULSE_RUNTIME_PATH", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .env_remove("PULSE_SERVER")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self { folder, daemon };
        let start = clock::now();
        while clock::now() < start + PATIENCE {
            let answers = server.command("pactl").arg("info").output();
            if answers.is_ok_and(|output| output.status.success()) {
                return Some(server);
            }
            thread::sleep(Duration::from_millis(100));
        }
        None
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let socket = self.folder.path().join("native");
        command
            .env("HOME", self.folder.path())
            .env("PULSE_RUNTIME_PATH", self.folder.path())
            .env("PULSE_SERVER", format!("unix:{}", socket.display()))
            .stdin(Stdio::null());
        command
    }

    /// Runs one ignored test of this binary inside.
    fn run(&self, test: &str) -> Output {
        let this = env::current_exe().expect("this binary");
        let mut command = self.command(this);
        command.args(["--exact", test, "--ignored", "--nocapture"]);
        command.output().expect("this binary runs")
    }
}

impl Drop for SoundServer {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn inside_a_sound_server(test: &str) {
    if env::var_os("NONSTOP_DEVICES_VM").is_some() {
        println!("skipped: the machine with real devices has no sound server");
        return;
    }
    let Some(server) = SoundServer::start() else {
        println!("skipped: no pulseaudio here");
        return;
    };
    let output = server.run(test);
    println!("{}", String::from_utf8_lossy(&output.stdout));
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

fn pactl(arguments: &[&str]) -> String {
    let output = Command::new("pactl").args(arguments).output();
    let output = output.expect("pactl runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn plug_the_microphone_in() -> String {
    pactl(&[
        "load-module",
        "module-remap-source",
        "master=speaker.monitor",
        "source_name=microphone",
        "source_properties=device.description=Microphone",
    ])
}

// ---------------------------------------------------------------- a call with oneself

const AS_IT_IS: Processing = Processing {
    echo_cancellation: false,
    noise_suppression: false,
    gain_control: false,
};

/// Somebody far away who sends a tone, and this computer, which plays it.
struct Call {
    far: Audio,
    near: Audio,
    from_far: Receiver<EncodedAudio>,
    from_near: Receiver<EncodedAudio>,
    voice: Voice,
    recorded: Voice,
    sent: [u64; 2],
}

impl Call {
    fn new(microphone: AudioSource, processing: Processing, record: &Path) -> Self {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let log = tracing_subscriber::fmt().with_env_filter(filter);
        // A second call in one test process finds the log in place.
        let _ = log.with_test_writer().try_init();
        let far = Audio::start(AudioConfig {
            microphone: AudioSource::Tone,
            speaker: AudioSink::None,
            processing,
        });
        let near = Audio::start(AudioConfig {
            microphone,
            speaker: AudioSink::Default,
            processing,
        });
        Self {
            from_far: far.subscribe().packets,
            from_near: near.subscribe().packets,
            voice: near.add_voice(None),
            recorded: far.add_voice(Some(record.to_owned())),
            far,
            near,
            sent: [0; 2],
        }
    }

    /// Carries packets both ways until `done` says so of a packet that came back.
    fn carry(&mut self, time: Duration, mut done: impl FnMut(&EncodedAudio) -> bool) -> bool {
        let start = clock::now();
        while clock::now() < start + time {
            let mut idle = true;
            if let Ok(packet) = self.from_far.try_recv() {
                self.voice.push(received(&packet, &mut self.sent[0]));
                idle = false;
            }
            if let Ok(packet) = self.from_near.try_recv() {
                self.recorded.push(received(&packet, &mut self.sent[1]));
                if done(&packet) {
                    return true;
                }
                idle = false;
            }
            if idle {
                thread::sleep(Duration::from_millis(1));
            }
        }
        false
    }

    fn state(&self) -> AudioState {
        self.near.state().newest().unwrap_or_default()
    }

    /// Carries until the near side's state is as wanted.
    fn wait_for(&mut self, wanted: impl Fn(&AudioState) -> bool) -> AudioState {
        let start = clock::now();
        while !wanted(&self.state()) && clock::now() < start + PATIENCE {
            self.carry(Duration::from_millis(50), |_| false);
        }
        let state = self.state();
        assert!(wanted(&state), "{state:?}");
        state
    }
}

fn received(packet: &EncodedAudio, sequence: &mut u64) -> VoicePacket {
    let packet = VoicePacket {
        way: Way::Direct,
        sequence: *sequence as u16,
        timestamp: (packet.step * 960) as u32,
        marker: false,
        recovered: false,
        payload: packet.data.clone(),
        arrived: clock::now(),
    };
    *sequence += 1;
    packet
}

fn loud(packet: &EncodedAudio) -> bool {
    packet.level < 40
}

/// Frequency (rising zero crossings) and level of a recording's usual 200 ms with sound in them;
/// what a slow machine tore apart is not usual.
fn heard(path: &Path) -> (f32, f32) {
    let mut reader = hound::WavReader::open(path).expect("a recording");
    let samples: Vec<f32> = reader
        .samples::<i16>()
        .map(|s| f32::from(s.expect("a sample")) / f32::from(i16::MAX))
        .collect();
    let mut pieces: Vec<(f32, f32)> = samples
        .chunks_exact(9600)
        .map(|piece| {
            let rises = piece.windows(2).filter(|p| p[0] < 0.0 && p[1] >= 0.0);
            let power = piece.iter().map(|s| s * s).sum::<f32>() / 9600.0;
            (rises.count() as f32 * 5.0, power.sqrt())
        })
        .filter(|(_, level)| *level > 0.1)
        .collect();
    assert!(pieces.len() >= 5, "too little came back");
    pieces.sort_by(|a, b| a.0.total_cmp(&b.0));
    pieces[pieces.len() / 2]
}

/// A tone out of the speaker and into the microphone: how long it takes, and what is left of it.
fn a_tone_comes_back(microphone: AudioSource, settling: Duration) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let record = folder.path().join("heard.wav");
    let mut call = Call::new(microphone, AS_IT_IS, &record);
    assert!(
        call.carry(PATIENCE, loud),
        "nothing came back: {:?}",
        call.state()
    );
    call.wait_for(|state| state.microphone_trouble.is_none() && state.speaker_trouble.is_none());
    call.carry(settling, |_| false);

    let mut latencies: Vec<Duration> = (0..5)
        .map(|_| {
            call.far.set_microphone_on(false);
            call.carry(PATIENCE, |packet| !loud(packet));
            call.carry(Duration::from_millis(500), |_| false);
            let spoken = clock::now();
            call.far.set_microphone_on(true);
            assert!(call.carry(PATIENCE, loud), "{:?}", call.state());
            clock::now() - spoken
        })
        .collect();
    latencies.sort();
    call.carry(Duration::from_secs(2), |_| false);
    let stats = call.voice.stats().newest().expect("figures");
    drop(call);

    let (hertz, level) = heard(&record);
    println!("from mouth to ear and back: {latencies:?}");
    println!(
        "heard: {hertz} Hz, {:.1} dB; {stats:?}",
        20.0 * level.log10()
    );
    assert!((hertz - TONE_HERTZ).abs() < 5.0, "{hertz} Hz");
    assert!((0.1..0.3).contains(&level), "{level}");
    assert!(latencies[0] < Duration::from_secs(1), "{latencies:?}");
}

// ---------------------------------------------------------------- what is tested

#[test]
fn a_tone_goes_through_a_sound_server() {
    inside_a_sound_server("inside_a_tone_goes_through");
}

#[test]
#[ignore = "run inside a sound server by the test of the same name"]
fn inside_a_tone_goes_through() {
    plug_the_microphone_in();
    let start = clock::now();
    let found = devices();
    println!("{found:?} in {:?}", clock::now() - start);
    assert_eq!(found.microphones, ["Microphone"], "and no monitors");
    assert_eq!(found.speakers, ["Loudspeaker"]);
    let microphone = AudioSource::Device("Microphone".into());
    a_tone_comes_back(microphone, Duration::from_secs(3));
}

#[test]
fn an_unplugged_microphone_is_told_and_comes_back() {
    inside_a_sound_server("inside_an_unplugged_microphone");
}

#[test]
#[ignore = "run inside a sound server by the test of the same name"]
fn inside_an_unplugged_microphone() {
    a_microphone_comes_and_goes(AudioSource::Device("Microphone".into()));
}

#[test]
fn without_a_microphone_the_speaker_is_not_sent_instead() {
    inside_a_sound_server("inside_without_a_microphone");
}

#[test]
#[ignore = "run inside a sound server by the test of the same name"]
fn inside_without_a_microphone() {
    a_microphone_comes_and_goes(AudioSource::Default);
}

fn a_microphone_comes_and_goes(microphone: AudioSource) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut call = Call::new(microphone, AS_IT_IS, &folder.path().join("heard.wav"));
    let state = call.wait_for(|state| state.microphone_trouble.is_some());
    assert_eq!(state.microphone_trouble, Some(DeviceTrouble::Missing));

    let module = plug_the_microphone_in();
    call.wait_for(|state| state.microphone_trouble.is_none());
    assert!(call.carry(PATIENCE, loud));
    let unplugged = clock::now();
    pactl(&["unload-module", &module]);
    let state = call.wait_for(|state| state.microphone_trouble.is_some());
    println!(
        "{:?} after {:?}",
        state.microphone_trouble,
        clock::now() - unplugged
    );
    let trouble = state.microphone_trouble.expect("some");
    let expected = [DeviceTrouble::Unplugged, DeviceTrouble::Silent];
    assert!(expected.contains(&trouble), "{trouble:?}");

    let plugged: Instant = clock::now();
    plug_the_microphone_in();
    call.wait_for(|state| state.microphone_trouble.is_none());
    assert!(call.carry(PATIENCE, loud));
    println!("heard again after {:?}", clock::now() - plugged);
}

#[test]
fn the_speaker_is_not_heard_in_the_microphone() {
    inside_a_sound_server("inside_the_speaker_is_not_heard");
}

#[test]
#[ignore = "run inside a sound server by the test of the same name"]
fn inside_the_speaker_is_not_heard() {
    plug_the_microphone_in();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let record = folder.path().join("heard.wav");
    let microphone = AudioSource::Device("Microphone".into());
    let cancelling = Processing {
        echo_cancellation: true,
        ..AS_IT_IS
    };
    let mut call = Call::new(microphone.clone(), AS_IT_IS, &record);
    let state = call.wait_for(|state| state.microphone_level > 0.6);
    println!("level of the echo: {}", state.microphone_level);
    call.near.configure(AudioConfig {
        microphone,
        speaker: AudioSink::Default,
        processing: cancelling,
    });
    call.carry(Duration::from_secs(8), |_| false);
    let state = call.state();
    println!("level of the echo that is left: {}", state.microphone_level);
    assert!(state.microphone_level < 0.5, "{state:?}");
}

#[test]
fn a_tone_goes_through_kernel_drivers() {
    if env::var_os("NONSTOP_DEVICES_VM").is_none() {
        println!("skipped: not in the virtual machine with real devices");
        return;
    }
    let start = clock::now();
    println!("{:?} in {:?}", devices(), clock::now() - start);
    let microphone = AudioSource::Device("plughw:CARD=Loopback,DEV=1".into());
    // Slow system calls and coarse timers: the length of callbacks has to be found first.
    a_tone_comes_back(microphone, Duration::from_secs(15));
}
