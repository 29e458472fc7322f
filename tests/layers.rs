//! The floor plan, enforced: who may name whom. `docs/architecture.md` draws it.
//!
//! Reads the sources as text, comments left out: a name that stands in code is a dependency.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A part of the house and the names that must not stand in its code.
struct Floor {
    folder: &'static str,
    except: &'static [&'static str],
    forbidden: &'static [&'static str],
}

const TRANSPORT: [&str; 2] = ["webrtc::", "rtc::"];

const FLOORS: &[Floor] = &[
    Floor {
        folder: "src/media",
        except: &[],
        forbidden: &[
            "crate::mesh",
            "crate::call",
            "crate::ui",
            "crate::config",
            "nonstop_wire",
            "nonstop_seal",
            "nonstop_server",
            "tokio_tungstenite",
            "egui",
            "eframe",
        ],
    },
    Floor {
        folder: "src/mesh",
        except: &[
            "src/mesh/paths/relay/tests/own_server.rs",
            "src/mesh/relayed/tests/mod.rs",
        ],
        forbidden: &[
            "crate::call",
            "crate::ui",
            "crate::config",
            "nonstop_server",
            "egui",
            "eframe",
            "cpal::",
            "nokhwa::",
            "openh264",
        ],
    },
    Floor {
        folder: "src/call",
        except: &[],
        forbidden: &[
            "crate::ui",
            "egui",
            "eframe",
            "nonstop_seal",
            "tokio_tungstenite",
            "cpal::",
            "nokhwa::",
            "openh264",
        ],
    },
    Floor {
        folder: "src/ui",
        except: &[],
        forbidden: &[
            "crate::mesh",
            "tokio",
            "std::net",
            "nonstop_wire",
            "nonstop_seal",
            "nonstop_server",
            "nonstop_rate",
            "cpal",
            "nokhwa",
            "openh264",
        ],
    },
    Floor {
        folder: "src",
        except: &["src/mesh/peer"],
        forbidden: &TRANSPORT,
    },
    Floor {
        folder: "crates/rate/src",
        except: &[],
        forbidden: &["std::net", "std::thread", "std::fs", "tokio", "::now()"],
    },
    Floor {
        folder: "crates/ice/src",
        except: &[],
        forbidden: &["std::thread", "std::fs", "tokio", "::now()", "UdpSocket"],
    },
    Floor {
        folder: "crates/relay/src",
        except: &["crates/relay/src/testing.rs"],
        forbidden: &[
            "std::net",
            "std::thread",
            "std::fs",
            "tokio",
            "str0m",
            "::now()",
        ],
    },
    Floor {
        folder: "crates/netem/src",
        except: &[],
        forbidden: &["std::net", "std::thread", "std::fs", "tokio", "::now()"],
    },
    Floor {
        folder: "crates/wire/src",
        except: &[],
        forbidden: &["std::thread", "std::fs", "tokio", "::now()", "UdpSocket"],
    },
    Floor {
        folder: "crates/seal/src",
        except: &[],
        forbidden: &["std::net", "std::thread", "std::fs", "tokio", "::now()"],
    },
    Floor {
        folder: "crates/server/src",
        except: &[],
        forbidden: &[
            "nonstop_seal",
            "nonstop::",
            "openh264",
            "opus::",
            "webrtc::",
        ],
    },
];

#[test]
fn no_floor_names_what_it_must_not_know() {
    let mut broken = Vec::new();
    for floor in FLOORS {
        for file in sources(Path::new(floor.folder)) {
            if floor.except.iter().any(|except| file.starts_with(except)) {
                continue;
            }
            for (number, line) in code_lines(&file) {
                for name in floor.forbidden {
                    if names(&line, name) {
                        broken.push(format!("{}:{number}: names {name}", file.display()));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn media_takes_only_the_units_from_rate() {
    for file in sources(Path::new("src/media")) {
        for (number, line) in code_lines(&file) {
            if let Some((_, rest)) = line.split_once("nonstop_rate::") {
                let rest = rest.trim_start_matches('{');
                assert!(
                    rest.starts_with("Bitrate") || rest.starts_with("DataSize"),
                    "{}:{number}: takes more than units from nonstop_rate",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn foundations_depend_on_what_they_may() {
    let allowed: [(&str, &[&str]); 7] = [
        ("ice", &[]),
        ("rate", &[]),
        ("wire", &[]),
        ("seal", &["nonstop-wire"]),
        ("relay", &["nonstop-rate"]),
        ("load", &["nonstop-seal", "nonstop-wire"]),
        ("server", &["nonstop-wire", "nonstop-rate", "nonstop-relay"]),
    ];
    for (name, may) in allowed {
        let manifest = read(&root().join(format!("crates/{name}/Cargo.toml")));
        let dependencies = manifest
            .split("[dependencies]")
            .nth(1)
            .and_then(|rest| rest.split("\n[").next())
            .unwrap_or_default();
        for line in dependencies.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if dependency.starts_with("nonstop") {
                assert!(
                    may.contains(&dependency),
                    "{name} must not know {dependency}"
                );
            }
            let io = matches!(dependency, "tokio" | "axum" | "webrtc" | "rtc" | "str0m");
            assert!(
                !io || matches!(name, "server" | "load"),
                "{name} is pure: no {dependency}"
            );
        }
    }
}

#[test]
fn no_file_outgrows_its_reader() {
    let folders = [
        "src",
        "crates",
        "tests",
        "fuzz/fuzz_targets",
        "benches",
        "examples",
    ];
    for file in folders.iter().flat_map(|folder| sources(Path::new(folder))) {
        let lines = read(&root().join(&file)).lines().count();
        assert!(lines <= 700, "{} has {lines} lines", file.display());
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below `folder`, relative to the root; none if the folder does not exist.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root().join(folder)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The lines of a file that are code, numbered from one.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    read(&root().join(file))
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| {
            (
                index + 1,
                line.split(" // ").next().unwrap_or(line).to_owned(),
            )
        })
        .collect()
}

/// Whether `name` stands in `line` as a whole name (not as the end of a longer one).
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let starts_inside = name.starts_with(':');
        starts_inside || !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"')
    })
}

#[test]
fn the_search_for_names_finds_whole_names_only() {
    assert!(names("use webrtc::peer;", "webrtc::"));
    assert!(names("let now = Instant::now();", "::now()"));
    assert!(!names("use webrtc::peer;", "rtc::"));
    assert!(!names("let my_tokio = 1;", "tokio"));
}
