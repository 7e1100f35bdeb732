"""Brian2's standalone programs: compiled once, kept in a cache, run with new parameters and inputs in other processes.

A program is keyed by the model's text in Brian2's words, the sizes, the compiler and the processor, not by values of
parameters: all of these, and the weights of the events, are arguments of a run. On a CPU a run has one thread and
touches no disk: its inputs are files in memory, and it writes what was asked for, and none of Brian2's other arrays,
to its standard output, another such file, and ends. So runs share nothing, one that is killed leaves nothing behind,
and one whose parent is killed dies with it. On a GPU the results take Brian2's way through a temporary folder.
"""

import fcntl
import hashlib
import importlib.util
import inspect
import json
import logging
import mmap
import os
import shutil
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import brian2
import numpy as np
from brian2 import get_device, prefs, set_device
from brian2.devices.device import reset_device

from sims.backends import brian, compiled
from sims.backends.compiled import BackendError, cache_folder, compiler
from sims.mistakes import RequestError

DEVICES = {"cpp": "cpp_standalone", "cuda": "cuda_standalone"}
COMPUTE_CAPABILITY = 9.0  # where no GPU can be asked
CUDA_STANDARD = "-std=c++17"  # CUDA 13's libraries refuse the c++11 that Brian2 asks for
OUTPUT = "program.json"  # what a run's output holds; written last, so a folder that has it is whole
SOURCES = [Path(__file__), Path(brian.__file__)]


class Program:
    """A compiled simulation.

    setup: a Setup.  device: cpp or cuda.  cache: the folder of programs (default: in compiled.cache_folder()).
    Compiles unless the cache holds it.  Raises EquationError or RequestError before anything is compiled where the file
    or an option is impossible, BackendError where a compiler is missing, EquationError where it complains.
    """

    def __init__(self, setup, device="cpp", cache=None):
        if device not in DEVICES:
            raise RequestError(f"--device: found '{device}', expected one of: runtime, torch, {', '.join(DEVICES)}")
        self.setup, self.device, self.words = setup.check(), device, setup.text()
        setup.values()
        self.folder = (cache or cache_folder() / "brian") / f"{setup.model.path.stem}_{device}_{self._key()}"
        once(self.folder, self._compile)
        self.output = json.loads((self.folder / OUTPUT).read_text())

    def evaluate(self, candidates, arrivals=None, workers=1, bounded=False, progress=None, shared=None, then=None):
        """Run the program once for each candidate, in processes of one thread each.

        candidates: list of {parameter: SI value}.  arrivals: what Setup.arrays takes, such as Arrivals, for all of them
        (None: no events), or a list with one for each.  workers: processes at a time.  bounded: refuse values outside
        their bounds, as a fit should.  progress: called after each run.  shared: {name: array} of Setup.shapes for all
        runs.  then: what to make of each run's Traces, in its own thread and at once, so that few are held in memory.
        Many trials of one candidate cost least as neurons side by side.
        Returns a list of Traces in the candidates' order, or of what `then` made of them; `finite` tells where a state
        ran away.
        Raises RequestError or EquationError before anything runs, BackendError where a run fails or is killed, after
        the others were ended.
        """
        if workers < 1:
            raise RequestError(f"--workers: found {workers}, expected 1 or more")
        if self.device == "cuda":
            check_gpu()
        values = [self.setup.values(changes, bounded) for changes in candidates]
        each = arrivals if isinstance(arrivals, list) else [arrivals] * len(values)
        if len(each) != len(values):
            raise RequestError(f"events: found {len(each)} lists of events for {len(values)} candidates")
        with ExitStack() as stack:
            files, for_all = {}, self._files(stack, shared or {})
            for given in each:
                if id(given) not in files:
                    files[id(given)] = for_all | self._files(stack, self.setup.arrays(given))
            runs = stack.enter_context(_Runs())
            pool = stack.enter_context(ThreadPoolExecutor(workers))
            jobs = [pool.submit(self._run, runs, v, files[id(a)], then) for v, a in zip(values, each, strict=True)]
            try:
                for job in as_completed(jobs):
                    job.result()
                    if progress is not None:
                        progress()
            except BaseException:
                runs.end()
                for job in jobs:
                    job.cancel()
                raise
        return [job.result() for job in jobs]

    def _key(self):
        content = asdict(self.words) | {
            "sizes": self.setup.sizes,
            "machine": [self.device, *compiled.identity(), *(_cuda_identity() if self.device == "cuda" else [])],
            "code": [brian2.__version__, *(path.read_text() for path in self._sources())],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def _sources(self):
        """The files of this project that decide what the program is."""
        return sorted({*SOURCES, Path(inspect.getfile(type(self.setup)))})

    def _files(self, stack, arrays):
        """{the program's name of an array: open file in memory} of those that are not zero, which is what it holds."""
        return {f"{n}.values": stack.enter_context(in_memory(array)) for n, array in arrays.items() if array.any()}

    def _run(self, runs, values, files, then):
        with ExitStack() as stack:
            given, own = arguments(stack, brian.GROUP, values)
            given += [f"{name}=/proc/self/fd/{file}" for name, file in files.items()]
            results = Path(stack.enter_context(tempfile.TemporaryDirectory())) if self.device == "cuda" else None
            written = runs.run(
                [self.folder / "main", "--results_dir", f"{results}/", *given],
                self.folder,
                (*own, *files.values()),
            )
            if results is not None:
                written = b"".join((results / name).read_bytes() for name in self.output["files"])
        traces = self._traces(written)
        return traces if then is None else then(traces)

    def _traces(self, written):
        setup = self.setup
        per_trace, per_state = setup.steps * setup.neurons, setup.neurons
        doubles = len(setup.recorded) * per_trace + len(setup.model.states) * per_state
        spikes, rest = divmod(len(written) - 8 * doubles, 8 + 4)
        if spikes < 0 or rest or (spikes and setup.model.threshold is None):
            raise BackendError(
                f"{setup.model.path}: the compiled simulation wrote {len(written)} bytes, expected {8 * doubles} "
                f"and 12 for each spike; it said: {written[:200]!r}"
            )
        numbers = np.frombuffer(written, float, doubles)
        values = numbers[: len(setup.recorded) * per_trace].reshape(-1, setup.steps, setup.neurons)
        final = numbers[len(setup.recorded) * per_trace :].reshape(-1, setup.neurons)
        return setup.traces(
            dict(zip(setup.recorded, values, strict=True)),
            dict(zip(setup.model.states, final, strict=True)),
            np.frombuffer(written, float, spikes, offset=8 * doubles),
            np.frombuffer(written, np.int32, spikes, offset=8 * doubles + 8 * spikes),
        )

    def _compile(self, folder):
        """Write the program and compile it; returns the content of its OUTPUT."""
        names = self._write(folder)
        make(folder, lambda cause: brian.refused(self.setup.model, cause))
        # A run loads this file of zeros before it takes its inputs: as a hole it costs no disk.
        for name in self.setup.shapes:
            file = next((folder / "static_arrays").glob(f"*{name}_values"))
            size = file.stat().st_size
            os.truncate(file, 0)
            os.truncate(file, size)
        return {"files": names}

    def _write(self, folder):
        """Have Brian2 write the program's source; returns the files of its results that hold what is wanted."""
        check_compiler(self.device)
        setup = self.setup
        arrays = {name: np.zeros(shape) for name, shape in setup.shapes.items()}
        with standalone(DEVICES[self.device], folder) as device:
            built = brian.Built(setup, self.words, setup.values(), arrays)
            wanted = [built.state_monitor.variables[name] for name in setup.recorded]
            wanted += [built.group.variables[name] for name in setup.model.states]
            if built.spike_monitor is not None:
                wanted += [built.spike_monitor.variables[name] for name in "ti"]
            if self.device == "cpp":
                device.insert_code("before_start", "prctl(PR_SET_PDEATHSIG, SIGKILL);")
                device.insert_code("before_end", _output(device, wanted))
            device.build(directory=str(folder), compile=False, run=False)
            return [device.get_array_filename(variable) for variable in wanted]


def once(folder, compile):
    """Have a program in its folder of the cache; of the processes that want it at the same time, one compiles it.

    compile: called with an empty folder, in which it puts `main` and `static_arrays`; returns plain data, which OUTPUT
    then holds.
    """
    if (folder / OUTPUT).is_file():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:  # the lock goes with the process that holds it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / OUTPUT).is_file():
            return
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            output = compile(Path(temporary))
            kept = Path(temporary) / "kept"
            kept.mkdir()
            for name in ("main", "static_arrays"):
                shutil.move(Path(temporary) / name, kept / name)
            (kept / OUTPUT).write_text(json.dumps(output))
            os.replace(kept, folder)


def arguments(stack, group, values):
    """What sets a group's variables in a run: (command-line arguments, descriptors of the files that they name).

    stack: an ExitStack, with which the files in memory close.  values: {variable: SI number, or array}.
    """
    files = {name: stack.enter_context(in_memory(np.asarray(x, float))) for name, x in values.items() if np.ndim(x)}
    found = [f"{group}.{name}={float(value)!r}" for name, value in values.items() if name not in files]
    found += [f"{group}.{name}=/proc/self/fd/{file}" for name, file in files.items()]
    return found, tuple(files.values())


class _Runs:
    """Processes of a program that run now, so that all can be ended."""

    def __init__(self):
        self._lock, self._live, self._ended = threading.Lock(), set(), False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def run(self, command, folder, descriptors):
        """The bytes that a process wrote, or a map of them.  Raises BackendError where it fails or is ended."""
        # A file in memory: a pipe would copy the results three times.
        with open(os.memfd_create("output"), "rb") as output:
            with self._lock:
                if self._ended:
                    raise BackendError("the simulation was not started, because another failed")
                process = subprocess.Popen(
                    command, cwd=folder, pass_fds=descriptors,
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE,
                )  # fmt: skip
                self._live.add(process)
            try:
                _, complaint = process.communicate()
            finally:
                with self._lock:
                    self._live.discard(process)
            size = os.fstat(output.fileno()).st_size
            written = mmap.mmap(output.fileno(), size, access=mmap.ACCESS_READ) if size else b""
        if process.returncode < 0:
            raise BackendError(f"{folder.name}: the compiled simulation was killed by signal {-process.returncode}")
        if process.returncode or complaint:
            cause = (complaint or written)[:500].decode(errors="replace").strip() or "no word"
            raise BackendError(f"{folder.name}: the compiled simulation failed: {cause}")
        return written

    def end(self):
        """Kill what runs; nothing starts any more."""
        with self._lock:
            self._ended = True
            for process in self._live:
                process.kill()


@contextmanager
def in_memory(array):
    """The descriptor of a file in memory that holds an array."""
    descriptor = os.memfd_create("array")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            np.ascontiguousarray(array).tofile(file)
        yield descriptor
    finally:
        os.close(descriptor)


def _output(device, variables):
    """C++ that writes the variables to standard output and ends the program before Brian2 writes all its arrays."""
    lines = ["auto put = [](const auto* from, size_t n)",
             "    { std::cout.write(reinterpret_cast<const char*>(from), n*sizeof(*from)); };"]  # fmt: skip
    for variable in variables:
        array = f"brian::{device.get_array_name(variable, access_data=False)}"
        if getattr(variable, "ndim", 1) == 2:
            lines.append(f"for (int n = 0; n < {array}.n; n++) put(&{array}(n, 0), {array}.m);")
        elif variable in device.dynamic_arrays:
            lines.append(f"put({array}.data(), {array}.size());")
        else:
            lines.append(f"put({array}, {variable.size});")
    return "\n".join([*lines, "std::cout.flush();", "_Exit(std::cout ? 0 : 1);"])


@contextmanager
def standalone(name, folder):
    """A fresh standalone device of Brian2's, set for as long as it writes a program into a folder."""
    if name == "cuda_standalone":
        import brian2cuda  # noqa: F401  registers the device and its preferences
    flags = [flag for flag in prefs["codegen.cpp.extra_compile_args_gcc"] if not flag.startswith("-std=")]
    wanted = {
        "codegen.cpp.extra_compile_args_gcc": [*flags, CUDA_STANDARD],
        "codegen.cpp.headers": ["<csignal>", "<sys/prctl.h>"],
        "devices.cpp_standalone.openmp_threads": 0,
    }
    wanted |= _cuda_preset(folder) if name == "cuda_standalone" else {}
    before = {preference: prefs[preference] for preference in wanted}
    set_device(name, build_on_run=False)
    device = get_device()
    try:
        for preference, value in wanted.items():
            prefs[preference] = value
        device.reinit()
        device.activate(build_on_run=False)
        yield device
    finally:
        device.reinit()
        reset_device()
        for preference, value in before.items():
            prefs[preference] = value


def _cuda_preset(folder):
    """Brian2's preferences for CUDA: this machine's GPU, or code for COMPUTE_CAPABILITY where there is none.

    folder: of the program. The library curand may come with CUDA or as a Python package, which holds it under a name
    that linkers do not look for.
    """
    backend = "devices.cuda_standalone.cuda_backend."
    logging.getLogger("brian2.brian2cuda").setLevel(logging.WARNING)  # it tells all of its preferences
    flags, preset = ["-w", "-use_fast_math", CUDA_STANDARD], {}
    if not gpu_capabilities():
        preset = {"detect_gpus": False, "gpu_id": 0, "compute_capability": COMPUTE_CAPABILITY}
    found = importlib.util.find_spec("nvidia")
    roots = list(found.submodule_search_locations) if found else []
    header = next((header for root in roots for header in Path(root).glob("*/include/curand.h")), None)
    directories = {}
    if header is not None:
        libraries = header.parents[1] / "lib"
        (folder / "libcurand.so").symlink_to(next(libraries.glob("libcurand.so*")))
        flags.append(f"-I{header.parent}")
        directories = {"library_dirs": [str(folder)], "runtime_library_dirs": [str(libraries)]}
    elif subprocess.run(["nvcc", "-E", "-x", "cu", "-"], input=b"#include <curand.h>", capture_output=True).returncode:
        raise BackendError("--device cuda needs the library curand, which this CUDA lacks; install nvidia-curand")
    preset["extra_compile_args_nvcc"] = flags
    return {f"{backend}{name}": value for name, value in preset.items()} | {
        f"codegen.cpp.{name}": [*prefs[f"codegen.cpp.{name}"], *more] for name, more in directories.items()
    }


def gpu_capabilities():
    """The compute capabilities of this machine's GPUs, as nvidia-smi tells them: texts, none where it finds none."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    run = subprocess.run(query, capture_output=True, text=True)
    return run.stdout.split() if run.returncode == 0 else []


def check_gpu():
    """Raise BackendError where a program for a GPU could be compiled at most."""
    if not gpu_capabilities():
        raise BackendError("--device cuda needs an NVIDIA GPU to run on, and nvidia-smi finds none; expected one here")


def _cuda_identity():
    """What decides the code that a program for a GPU becomes here."""
    nvcc = shutil.which("nvcc")
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout if nvcc else ""
    return [version, *(gpu_capabilities() or [str(COMPUTE_CAPABILITY)])]


def check_compiler(device):
    compiler()
    if shutil.which("make") is None:
        raise BackendError("make is needed to compile Brian2's programs, and was not found; install make")
    if device == "cuda":
        if importlib.util.find_spec("brian2cuda") is None:
            raise BackendError("--device cuda needs brian2cuda, an extra of this project; install it with '.[cuda]'")
        if shutil.which("nvcc") is None:
            raise BackendError("--device cuda needs NVIDIA's compiler nvcc, which was not found on the PATH")


def make(folder, refused):
    """Compile a program.  refused: makes an EquationError of the compiler's first complaints."""
    cores = len(os.sched_getaffinity(0))
    run = subprocess.run(["make", f"-j{cores}", f"CXX={compiler()}"], cwd=folder, capture_output=True, text=True)
    if run.returncode != 0 or not (folder / "main").is_file():
        complaints = [line for line in run.stderr.splitlines() if "error" in line] or run.stderr.splitlines()[-3:]
        raise refused("it does not compile: " + "; ".join(complaints[:3]))
