//go:build e2e

package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	launch "cyclone/pkg/launch/docker"
)

const image = "cyclone-launch-test/worker:1"

// The stand-in for a worker: it prints what it was given, and ends at once
// when its token says so.
const script = `env | sort; ls -l /run/cyclone 2>/dev/null
[ "$CYCLONE_WORKER_TOKEN" = fail ] && { echo cannot connect >&2; exit 9; }
while :; do sleep 0.1; done`

// workerImage makes the image of the machine's static busybox.
func workerImage(t *testing.T) {
	t.Helper()
	binary, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("the tests need a static busybox (Debian: busybox-static): %v", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(name, text string) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	put("bin/busybox", string(binary))
	put("worker", "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\n"+script+"\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker", "import", "--change", `ENTRYPOINT ["/worker"]`, "-", image)
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("docker", "rmi", "-f", image).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// launcher makes a launcher of an installation of its own; what it left is
// swept, and its image removed, when the test ends.
func launcher(t *testing.T) (*launch.Launcher, *client.Client) {
	t.Helper()
	workerImage(t)
	l := &launch.Launcher{Image: image, ServerID: unique(), ServerURL: "http://server:7099", Node: "local"}
	api, err := client.NewClientWithOpts(client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nobody := func(cyclone.WorkerID) bool { return false }
		if err := errors.Join(l.Sweep(context.Background(), nobody), api.Close()); err != nil {
			t.Error(err)
		}
	})
	return l, api
}

func unique() string { return strings.ToLower(rand.Text()[:12]) }

func spec(token string) cyclone.WorkerSpec {
	return cyclone.WorkerSpec{ID: cyclone.WorkerID("w-" + unique()), Event: cyclone.EventID("e-" + unique()), Project: "orders",
		Attempt: 1, Token: token, CPUs: 64, Memory: 256 << 20}
}

func inspect(t *testing.T, api *client.Client, w cyclone.WorkerSpec) container.InspectResponse {
	t.Helper()
	c, err := api.ContainerInspect(t.Context(), "cyclone-worker-"+string(w.ID))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func states(t *testing.T, l *launch.Launcher) map[cyclone.WorkerID]cyclone.WorkerState {
	t.Helper()
	list, err := l.Workers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	states := map[cyclone.WorkerID]cyclone.WorkerState{}
	for _, s := range list {
		states[s.ID] = s
	}
	return states
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 15s", what)
		}
	}
}

// volumeOf is the volume at the inner engine's folder. The engine lists mounts
// in no order.
func volumeOf(t *testing.T, c container.InspectResponse) string {
	t.Helper()
	for _, m := range c.Mounts {
		if m.Destination == "/var/lib/docker" && m.Name != "" {
			return m.Name
		}
	}
	t.Fatalf("no volume at /var/lib/docker: mounts %+v", c.Mounts)
	return ""
}

func TestLifeOfAWorker(t *testing.T) {
	l, api := launcher(t)
	if err := l.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := spec("secret-token")
	if err := l.Launch(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	c := inspect(t, api, w)
	wantLabels := map[string]string{cyclone.LabelRole: "worker", cyclone.LabelEvent: string(w.Event),
		cyclone.LabelProject: "orders", cyclone.LabelServer: l.ServerID, cyclone.LabelWorker: string(w.ID)}
	if diff := cmp.Diff(wantLabels, c.Config.Labels); diff != "" {
		t.Error(diff)
	}
	wantEnv := []string{"CYCLONE_SERVER_URL=http://server:7099", "CYCLONE_WORKER_ID=" + string(w.ID), "CYCLONE_WORKER_TOKEN=secret-token"}
	if diff := cmp.Diff(wantEnv, c.Config.Env[:3]); diff != "" {
		t.Error(diff)
	}
	if c.HostConfig.Memory != 256<<20 || c.HostConfig.NanoCPUs <= 0 || c.HostConfig.NanoCPUs >= 64e9 {
		t.Errorf("limits: %d bytes, %d nano CPUs", c.HostConfig.Memory, c.HostConfig.NanoCPUs)
	}
	if got := states(t, l)[w.ID]; !got.Running || got.Event != w.Event {
		t.Errorf("state %+v", got)
	}
	if err := l.Launch(t.Context(), w); !errors.Is(err, cyclone.ErrConflict) {
		t.Errorf("second launch: %v", err)
	}
	volume := volumeOf(t, c)
	if err := l.Remove(t.Context(), w.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := api.ContainerInspect(t.Context(), c.ID); err == nil {
		t.Error("the container is still there")
	}
	if _, err := api.VolumeInspect(t.Context(), volume); err == nil {
		t.Error("the volume is still there")
	}
	if err := l.Remove(t.Context(), w.ID); err != nil {
		t.Errorf("second removal: %v", err)
	}
}

func TestRightsOfAWorker(t *testing.T) {
	for _, mode := range []launch.Privileged{launch.PrivilegedFalse, launch.PrivilegedAuto} {
		t.Run(string(mode), func(t *testing.T) {
			l, api := launcher(t)
			l.Privileged = mode
			var first bool
			for range 2 { // the second launch uses what the first one learned
				w := spec("t")
				if err := l.Launch(t.Context(), w); err != nil {
					t.Fatal(err)
				}
				c := inspect(t, api, w)
				first = c.HostConfig.Privileged
				if first {
					continue // this host allows it
				}
				got := []any{[]string(c.HostConfig.CapAdd), []string(c.HostConfig.CapDrop), c.HostConfig.SecurityOpt, c.HostConfig.MaskedPaths, c.HostConfig.ReadonlyPaths}
				want := []any{[]string{"ALL"}, []string{"CAP_SYS_RESOURCE"}, []string{"seccomp=unconfined", "apparmor=unconfined"}, []string{}, []string{}}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
			if mode == launch.PrivilegedFalse && first {
				t.Error("privileged although told not to")
			}
		})
	}
}

func TestDeadWorkerSaysWhy(t *testing.T) {
	l, _ := launcher(t)
	w := spec("fail")
	if err := l.Launch(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the worker's end", func() bool { return !states(t, l)[w.ID].Running })
	got := states(t, l)[w.ID].Detail
	if !strings.Contains(got, "exited with 9") || !strings.Contains(got, "cannot connect") {
		t.Errorf("detail %q", got)
	}
}

func TestWorkerSeesTheSocketOfARestartedServer(t *testing.T) {
	l, api := launcher(t)
	dir := t.TempDir()
	l.SocketPath = filepath.Join(dir, "server.sock")
	listen := func() net.Listener {
		s, err := net.Listen("unix", l.SocketPath)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := listen()
	w := spec("t")
	if err := l.Launch(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if c := inspect(t, api, w); c.Config.Env[0] != "CYCLONE_SERVER_URL=unix:///run/cyclone/server.sock" {
		t.Errorf("environment %v", c.Config.Env)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	defer listen().Close()
	out, err := exec.Command("docker", "exec", "cyclone-worker-"+string(w.ID), "/bin/busybox", "test", "-S", "/run/cyclone/server.sock").CombinedOutput()
	if err != nil {
		t.Errorf("the socket is not in the worker: %v %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Launch(t.Context(), spec("t")); !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), "key") {
		t.Errorf("a socket among other files: %v", err)
	}
}

func TestNotReady(t *testing.T) {
	tests := map[string]struct {
		l    *launch.Launcher
		want string
	}{
		"engine down":   {&launch.Launcher{Host: "unix:///no/such/docker.sock", Image: image, ServerID: "s"}, "does not answer"},
		"image missing": {&launch.Launcher{Image: "cyclone-launch-test/absent:1", ServerID: "s"}, "make images"},
		"no directory":  {&launch.Launcher{Image: image, ServerID: "s", SocketPath: "/no/such/dir/server.sock"}, "/no/such/dir/"},
	}
	workerImage(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for what, err := range map[string]error{"ready": tt.l.Ready(t.Context()), "launch": tt.l.Launch(t.Context(), spec("t"))} {
				if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

func TestSweepTakesOnlyOurDead(t *testing.T) {
	ours, api := launcher(t)
	theirs, _ := launcher(t)
	live, dead, foreign := spec("t"), spec("t"), spec("t")
	for _, s := range []struct {
		l *launch.Launcher
		w cyclone.WorkerSpec
	}{{ours, live}, {ours, dead}, {theirs, foreign}} {
		if err := s.l.Launch(t.Context(), s.w); err != nil {
			t.Fatal(err)
		}
	}
	if err := ours.Sweep(t.Context(), func(id cyclone.WorkerID) bool { return id == live.ID }); err != nil {
		t.Fatal(err)
	}
	inspect(t, api, live)
	inspect(t, api, foreign)
	if _, err := api.ContainerInspect(t.Context(), "cyclone-worker-"+string(dead.ID)); err == nil {
		t.Error("the dead worker is still there")
	}
}

// A worker whose container is made but not started yet has not ended; removed,
// it is really gone, also when somebody else removes it at the same time.
func TestMadeButNotStarted(t *testing.T) {
	l, api := launcher(t)
	w := spec("t")
	name := "cyclone-worker-" + string(w.ID)
	labels := map[string]string{cyclone.LabelRole: "worker", cyclone.LabelServer: l.ServerID,
		cyclone.LabelWorker: string(w.ID), cyclone.LabelEvent: string(w.Event)}
	made, err := api.ContainerCreate(t.Context(), &container.Config{Image: image, Labels: labels}, &container.HostConfig{}, nil, nil, name)
	if err != nil {
		t.Fatal(err)
	}
	if got := states(t, l)[w.ID]; !got.Running || got.Event != w.Event {
		t.Errorf("state %+v", got)
	}
	if err := api.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 3)
	for range cap(done) {
		go func() { done <- l.Remove(t.Context(), w.ID) }()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := api.ContainerInspect(t.Context(), made.ID); err == nil {
		t.Error("the container is still there")
	}
	if got := states(t, l); len(got) != 0 {
		t.Errorf("workers %+v", got)
	}
}

// The space of the engine's own disk is known where the engine is local.
func TestDisk(t *testing.T) {
	l, _ := launcher(t)
	d, err := l.Disk(t.Context())
	if err != nil || d.Free <= 0 || d.Total < d.Free {
		t.Errorf("%+v, %v", d, err)
	}
	far := &launch.Launcher{Host: "tcp://192.0.2.1:2375", ServerID: "s", Node: "far"}
	if _, err := far.Disk(t.Context()); !errors.Is(err, cyclone.ErrNotFound) {
		t.Errorf("of another machine: %v", err)
	}
}
