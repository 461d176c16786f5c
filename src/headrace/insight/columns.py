"""Columns of the records that clocks take: times in nanoseconds, and what they are the times of."""

from __future__ import annotations

__all__ = [
    "ASKED",
    "BEGUN",
    "BETWEEN",
    "BYTES_OF_STEP",
    "COLLATE",
    "CPU",
    "CPU_OF",
    "DECODE",
    "DEPTH",
    "DEVICE_COPY",
    "ENDED",
    "EPOCH",
    "EPOCH_OF_STEP",
    "FIRST_STAGE",
    "FIRST_STEP",
    "GOT",
    "ORDER",
    "READ",
    "SAMPLES",
    "SAMPLES_OF_STEP",
    "SAMPLES_OF_TASK",
    "SLOWEST",
    "SLOWEST_INDEX",
    "STAGES",
    "STEP",
    "STEPS",
    "STEP_WIDTH",
    "TASKS",
    "TIMES",
    "TRANSFORM",
    "TRANSPORT",
    "WANTED",
    "WIDTH",
    "WORKER",
]

# The stages of loading, in the order in which a batch goes through them.
STAGES = ("order", "read", "decode", "transform", "collate", "transport", "device_copy")

# The times of a task, as a worker's clock takes them: which worker, when it was begun and ended, the processors' time
# that was taken and in how much of the task, the sample that took longest, and how many tasks the times stand for.
WORKER, BEGUN, ENDED, CPU, CPU_OF, SLOWEST_INDEX, SLOWEST, TASKS = range(8)
# Then of each stage its time and its bytes,
FIRST_STAGE = 8
ORDER, READ, DECODE, TRANSFORM, COLLATE, TRANSPORT, DEVICE_COPY = range(FIRST_STAGE, FIRST_STAGE + 2 * len(STAGES), 2)
# and the same of samples whose stages were not told apart.
SAMPLES = FIRST_STAGE + 2 * len(STAGES)
WIDTH = SAMPLES + 2

# Before these times a loader has of each task: its epoch, first step, steps and samples, when its result was asked
# for, and how many others had come by then.
EPOCH, FIRST_STEP, STEPS, SAMPLES_OF_TASK, WANTED, DEPTH = range(6)
TIMES = 6

# A step of a loader: when its batch was asked for and handed out, how long the consumer had taken before (-1 for the
# first batch of an iterator), samples, bytes, epoch and step. Step -1 is none, but the time that the consumer took for
# a batch after which there was no other.
ASKED, GOT, BETWEEN, SAMPLES_OF_STEP, BYTES_OF_STEP, EPOCH_OF_STEP, STEP = range(7)
STEP_WIDTH = 7
