//go:build e2e

package docker_test

import (
	"maps"
	"os/exec"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/engine/docker"
)

func TestServicesAreReachedByName(t *testing.T) {
	e, labels := engine(t)
	network, err := e.CreateNetwork(t.Context(), "cyclone-test-"+labels[cyclone.LabelEvent], labels)
	if err != nil {
		t.Fatal(err)
	}
	service := create(t, e, labels, "mkdir /www; echo found >/www/index.html; echo up; exec httpd -f -p 8080 -h /www", func(s *cyclone.ContainerSpec) {
		s.Network, s.Aliases = network, []string{"web", "alias"}
	})
	up := make(chan struct{})
	out := recorder{notify: func(string) {
		select {
		case <-up:
		default:
			close(up)
		}
	}}
	ended := make(chan error, 1)
	go func() {
		_, err := e.Run(t.Context(), service, &out)
		ended <- err
	}()
	<-up
	info, err := e.Inspect(t.Context(), service)
	if err != nil || !info.Running || info.IP == "" {
		t.Errorf("inspect: %+v, %v", info, err)
	}
	client := create(t, e, labels, "for i in 1 2 3 4 5; do wget -qO- http://alias:8080/ && exit 0; sleep 1; done; exit 1", func(s *cyclone.ContainerSpec) {
		s.Network = network
	})
	var got recorder
	if exit, err := e.Run(t.Context(), client, &got); err != nil || exit.Code != 0 || !strings.Contains(got.String(), "found") {
		t.Errorf("client: %+v, %v, %q", exit, err, got.String())
	}
	// Removing a running service ends its Run; the network goes although the
	// other container is still in it.
	if err := e.Remove(t.Context(), service); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run of a removed container: %v", err)
	}
	if err := e.RemoveNetwork(t.Context(), network); err != nil {
		t.Error(err)
	}
	if err := e.RemoveNetwork(t.Context(), network); err != nil {
		t.Errorf("removing a network that is gone: %v", err)
	}
}

func TestInspectTellsHealth(t *testing.T) {
	e, labels := engine(t)
	image := "cyclone-engine-test/health:1"
	dir := contextDir(t, map[string]string{"Dockerfile": "FROM " + busybox(t, e) + "\n" +
		"EXPOSE 80 5432\nHEALTHCHECK --interval=1s --retries=1 CMD test -e /healthy\n" +
		"ENTRYPOINT [\"/bin/sh\",\"-c\"]\nCMD [\"sleep 2; touch /healthy; sleep 60\"]\nWORKDIR /srv\n"})
	if err := e.Images().Build(t.Context(), buildSpec(dir, image), &recorder{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeImage(t, image) })
	about, err := e.Images().Inspect(t.Context(), image)
	if err != nil || !about.Healthcheck || about.WorkingDir != "/srv" || strings.Join(about.ExposedPorts, " ") != "5432/tcp 80/tcp" || about.Entrypoint[0] != "/bin/sh" {
		t.Errorf("image: %+v, %v", about, err)
	}
	id, err := e.Create(t.Context(), cyclone.ContainerSpec{Name: "health", Image: image, Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := e.Run(t.Context(), id, &recorder{})
		ended <- err
	}()
	seen := map[string]bool{}
	for deadline := time.Now().Add(20 * time.Second); !seen["healthy"] && time.Now().Before(deadline); {
		info, err := e.Inspect(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		seen[info.Health] = true
	}
	if !seen["healthy"] {
		t.Errorf("seen %v", seen)
	}
	if err := e.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// exists asks docker itself.
func exists(t *testing.T, what, name string) bool {
	t.Helper()
	return exec.Command("docker", what, "inspect", name).Run() == nil
}

func TestSweepTouchesNothingElse(t *testing.T) {
	e, labels := engine(t)
	other := maps.Clone(labels)
	other[cyclone.LabelEvent] = unique()
	mine := leave(t, e, labels)
	theirs := leave(t, e, other)
	if err := e.Sweep(t.Context(), labels); err != nil {
		t.Fatal(err)
	}
	for what, name := range mine {
		if exists(t, what, name) {
			t.Errorf("%s %s is still there", what, name)
		}
	}
	for what, name := range theirs {
		if !exists(t, what, name) {
			t.Errorf("%s %s of another event is gone", what, name)
		}
	}
	if err := e.Sweep(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	wantKind(t, e.Sweep(t.Context(), nil), cyclone.ErrInvalid)
	wantKind(t, e.Sweep(t.Context(), map[string]string{}), cyclone.ErrInvalid)
}

// leave makes a running container in a network, and a volume.
func leave(t *testing.T, e *docker.Engine, labels map[string]string) map[string]string {
	t.Helper()
	name := "cyclone-test-" + labels[cyclone.LabelEvent]
	network, err := e.CreateNetwork(t.Context(), name, labels)
	if err != nil {
		t.Fatal(err)
	}
	id := create(t, e, labels, "sleep 300", func(s *cyclone.ContainerSpec) { s.Network = network })
	if out, err := exec.Command("docker", "start", id).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args := []string{"volume", "create"}
	for k, v := range labels {
		args = append(args, "--label", k+"="+v)
	}
	if out, err := exec.Command("docker", append(args, name)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return map[string]string{"container": id, "network": network, "volume": name}
}
