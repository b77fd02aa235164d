//! How fast messages become frames and frames become messages, on one core.

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use liner::Seq;
use liner::wire::codec::{Decoder, encode_data, frames};
use liner::wire::frame::{Data, DataFlags, Frame, LaneIx};
use std::hint::black_box;

/// Frames in one buffer: about what one read brings under load.
const BATCH: u64 = 256;

fn batch(payload: &[u8], out: &mut BytesMut) {
    for n in 1..=BATCH {
        let seq = Seq::new(n);
        encode_data(&Data { lane: LaneIx(1), flags: DataFlags::STRICT, seq, raw_len: 0, headers: &[], payload }, out);
    }
}

fn codec(c: &mut Criterion) {
    for size in [100, 1024] {
        let payload = vec![0x5a; size];
        let mut group = c.benchmark_group(format!("{size}B"));
        group.throughput(Throughput::Elements(BATCH));
        let mut out = BytesMut::new();
        group.bench_function("encode", |b| {
            b.iter(|| {
                out.clear();
                batch(black_box(&payload), &mut out);
                black_box(out.len())
            });
        });
        group.bench_function("decode", |b| {
            b.iter(|| {
                let mut bytes = 0;
                for frame in frames(black_box(&out)) {
                    if let Ok(Frame::Data(data)) = frame {
                        bytes += data.payload.len();
                    }
                }
                assert_eq!(bytes, size * BATCH as usize);
            });
        });
        let mut decoder = Decoder::new(1 << 20);
        group.bench_function("read_and_decode", |b| {
            b.iter(|| {
                let (mut rest, mut bytes) = (&out[..], 0);
                while !rest.is_empty() {
                    let buf = decoder.read_buf();
                    let (now, later) = rest.split_at((buf.capacity() - buf.len()).min(rest.len()));
                    buf.extend_from_slice(now);
                    rest = later;
                    while let Ok(Some(chunk)) = decoder.next_chunk() {
                        for frame in frames(&chunk) {
                            if let Ok(Frame::Data(data)) = frame {
                                bytes += data.payload.len();
                            }
                        }
                    }
                }
                assert_eq!(bytes, size * BATCH as usize);
            });
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
