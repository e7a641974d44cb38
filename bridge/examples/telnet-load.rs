//! A load of telnet users: rooms full of people, in each of which somebody says something once a second, and how long it takes
//! until everybody there has heard it.
//!
//! It speaks the `#` protocol as a client does, and looks at the bridge from outside only: at its memory and processor time,
//! where its process is named. It fails when a message was lost or came twice.

use clap::Parser;
use std::{
    fs,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

/// How long the last messages may take.
const LAST: Duration = Duration::from_secs(10);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// Rooms full of telnet users, in each of which one message is said in each interval.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// Where the bridge serves the `#` protocol
    #[arg(long, default_value = "127.0.0.1:6500")]
    address: SocketAddr,
    /// Users in all
    #[arg(long, default_value_t = 2000)]
    users: usize,
    /// Rooms, over which the users are spread
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// Milliseconds between two messages of one room
    #[arg(long, default_value_t = 1000)]
    interval_ms: u64,
    /// Messages in each room
    #[arg(long, default_value_t = 30)]
    messages: usize,
    /// Users that connect a second; a bridge lets in 100 a second from one address, and 1,000 at once
    #[arg(long, default_value_t = 95)]
    connects: u32,
    /// The process whose memory and processor time are told
    #[arg(long)]
    pid: Option<u32>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What has been heard: how long each took in microseconds, and by how many what each user heard was out of turn.
#[derive(Debug, Default)]
struct Heard {
    latencies_us: Vec<u64>,
    wrong: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(run(&options)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was lost.
async fn run(options: &Options) -> Result<bool, Failure> {
    let memory_before = options.pid.map(memory_kib).transpose()?;
    let begin = Instant::now();
    let mut entering = JoinSet::new();
    for index in 0..options.users {
        let due = begin + Duration::from_secs(1) * u32::try_from(index)? / options.connects.max(1);
        sleep_until(due.into()).await;
        let options = options.clone();
        entering.spawn(async move { enter(index, &options).await });
    }
    let mut users = Vec::new();
    while let Some(entered) = entering.join_next().await {
        users.push(entered??);
    }
    println!("{} users are in {} rooms after {:?}", users.len(), options.rooms, begin.elapsed());
    // What tells who enters has been told.
    sleep(Duration::from_secs(2)).await;
    let memory = options.pid.map(memory_kib).transpose()?;
    let busy_before = options.pid.map(busy_ms).transpose()?;
    let heard = Arc::new(Mutex::new(Heard::default()));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (index, reader, writer) in users {
        let heard = heard.clone();
        if index < options.rooms {
            tasks.spawn(speak(index, writer, options.clone(), start));
        } else {
            // Held so that the connection stays.
            tasks.spawn(async move {
                let _writer = writer;
                std::future::pending().await
            });
        }
        tasks.spawn(async move {
            // Ends with the connection, or with the load.
            let _ = hear(reader, start, &heard).await;
        });
    }
    let expected = options.messages * options.users;
    let until = start + Duration::from_millis(options.interval_ms) * u32::try_from(options.messages)? + LAST;
    while Instant::now() < until && count(&heard) < expected {
        sleep(Duration::from_millis(50)).await;
    }
    let took = start.elapsed();
    tasks.abort_all();
    let mut heard = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
    heard.latencies_us.sort_unstable();
    let lost = expected.saturating_sub(heard.latencies_us.len());
    let at = |share: f64| {
        let index = (heard.latencies_us.len() as f64 * share) as usize;
        heard.latencies_us.get(index.min(heard.latencies_us.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|share| at(share) as f64 / 1000.0);
    println!(
        "{} lines heard in {took:?}, lost {lost}, out of turn {}",
        heard.latencies_us.len(),
        heard.wrong
    );
    println!("latency in ms: p50 {p50:.2}  p99 {p99:.2}  p99.9 {p999:.2}  most {max:.2}");
    if let (Some(before), Some(memory), Some(busy), Some(pid)) =
        (memory_before, memory, busy_before, options.pid)
    {
        let each = memory.saturating_sub(before) as f64 / options.users as f64;
        println!("memory: {before} KiB before, {memory} KiB with all users: {each:.1} KiB a user");
        let share = (busy_ms(pid)? - busy) as f64 / took.as_millis() as f64 * 100.0;
        println!("processor time while they speak: {share:.1} % of one processor");
    }
    Ok(lost == 0 && heard.wrong == 0)
}

fn count(heard: &Mutex<Heard>) -> usize {
    heard.lock().unwrap_or_else(PoisonError::into_inner).latencies_us.len()
}

type Lines = BufReader<OwnedReadHalf>;

/// A user who is in a room; the first of each room makes it.
async fn enter(index: usize, options: &Options) -> Result<(usize, Lines, OwnedWriteHalf), Failure> {
    let (reader, mut writer) = TcpStream::connect(options.address).await?.into_split();
    let mut lines = BufReader::with_capacity(512, reader);
    let room = index % options.rooms;
    ask(&mut lines, &mut writer, &format!("#login anon load{index}"), "@status 0").await?;
    if index < options.rooms {
        // It may be there from an earlier load.
        ask(&mut lines, &mut writer, &format!("#createroom load{room}"), "@status ").await?;
    }
    let entered = async {
        // The first one may still be making it.
        while ask(&mut lines, &mut writer, &format!("#changeroom load{room}"), "@status 0").await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(ANSWER, entered).await?;
    Ok((index, lines, writer))
}

/// Sends a line, and reads up to its answer.
async fn ask(
    lines: &mut Lines,
    writer: &mut OwnedWriteHalf,
    line: &str,
    wanted: &str,
) -> Result<(), Failure> {
    writer.write_all(format!("{line}\r\n").as_bytes()).await?;
    loop {
        let mut answer = String::new();
        if timeout(ANSWER, lines.read_line(&mut answer)).await?? == 0 {
            return Err(format!("{line}: disconnected").into());
        }
        if answer.starts_with(wanted) {
            return Ok(());
        }
        if answer.starts_with("@status ") {
            return Err(format!("{line}: {answer}").into());
        }
    }
}

/// Says when it is, and the how manieth message it is; rooms take their turns within an interval.
async fn speak(room: usize, mut writer: OwnedWriteHalf, options: Options, start: Instant) {
    let interval = Duration::from_millis(options.interval_ms);
    let turn = interval * u32::try_from(room).unwrap_or(0) / u32::try_from(options.rooms).unwrap_or(1);
    for number in 0..options.messages {
        sleep_until((start + turn + interval * u32::try_from(number).unwrap_or(0)).into()).await;
        let line = format!("#broadcast {}:{number}:{room}\r\n", start.elapsed().as_micros());
        if writer.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
    std::future::pending().await
}

async fn hear(mut lines: Lines, start: Instant, heard: &Mutex<Heard>) -> Result<(), Failure> {
    let mut next = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let Some(said) = line.strip_prefix("@mess #broadcast ").and_then(|rest| rest.split('"').nth(1))
        else {
            continue;
        };
        let mut words = said.split(':').map(str::parse::<u64>);
        let (Some(Ok(sent_us)), Some(Ok(number))) = (words.next(), words.next()) else { continue };
        let now_us = u64::try_from(start.elapsed().as_micros())?;
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.latencies_us.push(now_us.saturating_sub(sent_us));
        heard.wrong += usize::from(number != next);
        next = number + 1;
    }
}

/// Memory of a process that is in use, in KiB.
fn memory_kib(pid: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?.parse()?)
}

/// Processor time of a process, in milliseconds; a tick is 10 of them.
fn busy_ms(pid: u32) -> Result<u64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').ok_or("no stat")?.1;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? * 10)
}
