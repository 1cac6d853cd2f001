package chaos

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"cyclone/pkg/cyclonetest/lab"
)

// world is everything real that a run works with.
type world struct {
	o        Options
	notes    *notes
	engine   *lab.Engine
	registry *lab.Registry
	git      *lab.Git
	mail     *lab.Mailbox
	mongo    *lab.Mongo
	disk     string // the small disk of the embedded store
	temp     string // where servers put temporary files
	logs     []*os.File
	sites    []*site

	engineBusy, mongoBusy, diskBusy sync.Mutex // one fault at a time
}

// site is one installation: servers that share a store.
type site struct {
	name    string
	servers []*server
	// workers is how workers reach the servers; stores are the servers' ways
	// to their store, none for the embedded one.
	workers  *lab.Proxy
	stores   []*lab.Proxy
	projects map[string]*project // by shape
}

// server is one server of a site.
type server struct {
	*lab.Server
	name string
	busy sync.Mutex // one fault at a time
}

// project is one shape on one site.
type project struct {
	name, secret, url, sha string
	shape                  *shape
}

// start starts everything. stop must be called, also after an error.
func start(ctx context.Context, o Options) (*world, error) {
	w := &world{o: o, notes: newNotes(o.Out), temp: filepath.Join(o.Dir, "tmp"), disk: filepath.Join(o.Dir, "disk")}
	for _, dir := range []string{w.temp, w.disk, filepath.Join(o.Dir, "git")} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return w, fmt.Errorf("make the run's folders: %w", err)
		}
	}
	for _, part := range []func(context.Context) error{w.startEngine, w.startParts, w.startSites, w.makeProjects} {
		if err := part(ctx); err != nil {
			return w, err
		}
	}
	return w, nil
}

// logFile makes a file in the run's folder for what a process prints.
func (w *world) logFile(name string) (io.Writer, error) {
	f, err := os.Create(filepath.Join(w.o.Dir, name+".log"))
	if err != nil {
		return nil, fmt.Errorf("make a log file: %w", err)
	}
	w.logs = append(w.logs, f)
	return f, nil
}

func (w *world) startEngine(ctx context.Context) error {
	log, err := w.logFile("engine")
	if err != nil {
		return err
	}
	w.notes.say("starting a Docker engine of our own")
	if w.engine, err = lab.StartEngine(ctx, filepath.Join(w.o.Cache, "chaos", "engine"), filepath.Join(os.TempDir(), "cyclone-chaos-engine"), log); err != nil {
		return err
	}
	w.notes.say("bringing the worker's image to it")
	return w.engine.Load(ctx, w.o.Image)
}

func (w *world) startParts(ctx context.Context) error {
	var err error
	if w.registry, err = lab.StartRegistry(ctx, lab.RegistryOptions{Bind: w.engine.Bridge, Dir: filepath.Join(w.o.Cache, "chaos", "registry")}); err != nil {
		return err
	}
	if err := w.registry.UploadNew(ctx, map[string]string{"cyclone/busybox:demo": "library/busybox:1"}, w.notes.say); err != nil {
		return err
	}
	if w.git, err = lab.StartGit(w.engine.Bridge, filepath.Join(w.o.Dir, "git")); err != nil {
		return err
	}
	if w.mail, err = lab.StartMailbox(); err != nil {
		return err
	}
	log, err := w.logFile("store")
	if err != nil {
		return err
	}
	if w.mongo, err = lab.NewMongo(w.o.Mongo, filepath.Join(w.o.Dir, "mongo"), log); err != nil {
		return err
	}
	if err := w.mongo.Start(ctx); err != nil {
		return err
	}
	// Small enough to be filled in a moment, large enough for all logs.
	if err := syscall.Mount("tmpfs", w.disk, "tmpfs", 0, "size=256m"); err != nil {
		return fmt.Errorf("mount a small disk: %w; this needs root", err)
	}
	return nil
}

// startSites starts the servers: two on one store, and one on its own.
func (w *world) startSites(ctx context.Context) error {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	pair, err := w.newSite("pair")
	if err != nil {
		return err
	}
	env := w.env(pair, (w.o.Workers+1)/2)
	env["CYCLONE_ENCRYPTION_KEY"] = base64.StdEncoding.EncodeToString(key)
	token := rand.Text()
	for _, name := range []string{"a", "b"} {
		way, err := lab.StartProxy("127.0.0.1:0", w.mongo.Addr)
		if err != nil {
			return err
		}
		pair.stores = append(pair.stores, way)
		o := lab.ServerOptions{Store: "mongodb://" + way.Addr() + "/cyclone", Token: token, Env: env}
		if err := w.addServer(pair, name, o); err != nil {
			return err
		}
	}
	solo, err := w.newSite("solo")
	if err != nil {
		return err
	}
	if err := w.addServer(solo, "e", lab.ServerOptions{Dir: filepath.Join(w.disk, "data"), Env: w.env(solo, w.o.Workers/2)}); err != nil {
		return err
	}
	for _, s := range w.sites {
		// One after the other: the stand-in breaks when two make their indexes
		// in an empty store at once.
		for _, n := range s.servers {
			if err := n.Start(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) newSite(name string) (*site, error) {
	workers, err := lab.StartProxy(w.engine.Bridge + ":0")
	if err != nil {
		return nil, err
	}
	s := &site{name: name, workers: workers, projects: map[string]*project{}}
	w.sites = append(w.sites, s)
	return s, nil
}

// env are the settings of a site's servers.
func (w *world) env(s *site, workers int) map[string]string {
	parts := &lab.System{Registry: w.registry, Mail: w.mail}
	env := parts.Env()
	for name, value := range map[string]string{
		"CYCLONE_DOCKER_HOST": w.engine.Host, "CYCLONE_WORKER_IMAGE": w.o.Image, "CYCLONE_WORKERS": fmt.Sprint(workers),
		"CYCLONE_WORKER_SERVER_URL": "http://" + s.workers.Addr(), "CYCLONE_NODE_NAME": s.name, "CYCLONE_MIN_FREE_DISK": "100m",
		"TMPDIR": w.temp,
	} {
		env[name] = value
	}
	return env
}

// addServer makes a server, without starting it, and leads workers to it.
func (w *world) addServer(s *site, name string, o lab.ServerOptions) error {
	log, err := w.logFile("server-" + name)
	if err != nil {
		return err
	}
	o.Bin, o.Log = w.o.Bin, log
	made, err := lab.NewServer(o)
	if err != nil {
		return err
	}
	s.workers.Lead(strings.TrimPrefix(made.URL, "http://"))
	s.servers = append(s.servers, &server{Server: made, name: name})
	return nil
}

// makeProjects makes a repository for each shape, and a project for it on each site.
func (w *world) makeProjects(ctx context.Context) error {
	for _, sh := range shapes() {
		files := map[string][]byte{}
		for path, text := range sh.files {
			files[path] = []byte(text)
		}
		sha, err := w.git.Commit(ctx, sh.name, "main", "Change "+sh.name, files)
		if err != nil {
			return err
		}
		for _, s := range w.sites {
			p := &project{name: sh.name + "-" + s.name, url: w.git.URL(sh.name), sha: sha, shape: sh}
			body := map[string]any{
				"name": p.name, "repository": map[string]any{"type": "github", "url": p.url},
				"notifications": map[string]any{"email": map[string]any{"recipients": []string{p.name + "@example.com"}}},
			}
			maps.Copy(body, sh.with)
			var made struct{ WebhookSecret string }
			if err := s.servers[0].Call(ctx, "POST", "/api/v1/projects", body, &made); err != nil {
				return err
			}
			p.secret = made.WebhookSecret
			s.projects[sh.name] = p
		}
	}
	return nil
}

// stopServers ends the servers as an operator does.
func (w *world) stopServers() {
	for _, s := range w.sites {
		for _, n := range s.servers {
			n.Stop()
		}
	}
}

// stop ends everything. The run's folder keeps the logs alone.
func (w *world) stop() {
	w.stopServers()
	for _, s := range w.sites {
		for _, p := range append(s.stores, s.workers) {
			p.Stop()
		}
	}
	if w.mongo != nil {
		w.mongo.Kill()
	}
	if w.mail != nil {
		w.mail.Stop()
	}
	if w.git != nil {
		w.git.Stop()
	}
	if w.registry != nil {
		w.registry.Stop()
	}
	if w.engine != nil {
		w.engine.Stop()
	}
	_ = syscall.Unmount(w.disk, syscall.MNT_DETACH) // it may not be mounted
	for _, f := range w.logs {
		_ = f.Close() // nothing more comes
	}
	for _, dir := range []string{w.temp, w.disk, filepath.Join(w.o.Dir, "git"), filepath.Join(w.o.Dir, "mongo")} {
		_ = os.RemoveAll(dir) // what is left of it is in the system's folder for such
	}
}
