package docker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	dockerbuildkit "github.com/docker/docker/client/buildkit"
	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/tonistiigi/fsutil"
	"google.golang.org/grpc"

	"cyclone/pkg/cyclone"
)

// Build builds an image with the BuildKit that is part of the engine; what it
// prints goes to out as lines of the form "#5 ...". The image is tagged on the
// engine and carries its own cache. A build that fails because of the
// Dockerfile is ErrInvalid, and the error names the line and quotes the end of
// what the failing instruction printed. ErrForbidden and ErrUnavailable are
// about a registry or the engine.
func (i *Images) Build(ctx context.Context, spec cyclone.BuildSpec, out cyclone.Output) error {
	request, err := solveRequest(spec)
	if err != nil {
		return err
	}
	builder, err := buildkit.New(ctx, "", dockerbuildkit.ClientOpts(i.engine.api)...)
	if err != nil {
		return failed(ctx, err, "connect to the engine's BuildKit")
	}
	// The connection is used up; nothing is lost when closing it fails.
	defer func() { _ = builder.Close() }()

	log := newBuildLog(out)
	shown := make(chan struct{})
	statuses := make(chan *buildkit.SolveStatus)
	go func() {
		defer close(shown)
		for s := range statuses {
			log.show(s)
		}
	}()
	_, err = builder.Solve(ctx, nil, request, statuses)
	<-shown
	return buildFailed(ctx, err, spec, log)
}

// solveRequest translates a specification into BuildKit's words.
func solveRequest(spec cyclone.BuildSpec) (buildkit.SolveOpt, error) {
	sources, err := sources(spec)
	if err != nil {
		return buildkit.SolveOpt{}, err
	}
	ref, err := parse(spec.Image)
	if err != nil {
		return buildkit.SolveOpt{}, err
	}
	request := buildkit.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: attributes(spec),
		LocalMounts:   sources,
		Exports:       []buildkit.ExportEntry{{Type: "moby", Attrs: map[string]string{"name": ref.String()}}},
		// The cache travels inside the image, so that whoever pulls the image
		// of the event before has its layers.
		CacheExports: []buildkit.CacheOptionsEntry{{Type: "inline"}},
		Session:      []session.Attachable{secretsprovider.FromMap(spec.Secrets), &logins{byHost: spec.Registries}},
	}
	for _, name := range spec.CacheFrom {
		// BuildKit goes on without a cache that it cannot find.
		request.CacheImports = append(request.CacheImports,
			buildkit.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{"ref": name}})
	}
	return request, nil
}

// sources opens the directories that BuildKit may ask for files of. It sends
// their .dockerignore first and then asks only for what that leaves.
func sources(spec cyclone.BuildSpec) (map[string]fsutil.FS, error) {
	if info, err := os.Stat(spec.ContextDir); err != nil || !info.IsDir() {
		return nil, cyclone.Invalid("context_dir", "%s is not a directory", filepath.Base(spec.ContextDir))
	}
	if info, err := os.Stat(spec.Dockerfile); err != nil || !info.Mode().IsRegular() {
		return nil, cyclone.Invalid("dockerfile_name", "there is no file %s in %s",
			filepath.Base(spec.Dockerfile), filepath.Base(filepath.Dir(spec.Dockerfile)))
	}
	found := map[string]fsutil.FS{}
	for name, dir := range map[string]string{"context": spec.ContextDir, "dockerfile": filepath.Dir(spec.Dockerfile)} {
		files, err := fsutil.NewFS(dir)
		if err != nil {
			return nil, fmt.Errorf("open build %s: %w", name, err)
		}
		found[name] = files
	}
	return found, nil
}

// attributes are the options of the Dockerfile frontend.
func attributes(spec cyclone.BuildSpec) map[string]string {
	attrs := map[string]string{"filename": filepath.Base(spec.Dockerfile)}
	if spec.Target != "" {
		attrs["target"] = spec.Target
	}
	if spec.Pull {
		attrs["image-resolve-mode"] = "pull"
	}
	add := func(prefix string, values map[string]string) {
		for k, v := range values {
			attrs[prefix+k] = v
		}
	}
	add("build-arg:", spec.Args)
	add("label:", spec.Labels)
	return attrs
}

// logins answers BuildKit's question for a registry's login, which it asks
// over the session when a registry wants one.
type logins struct {
	auth.UnimplementedAuthServer
	byHost map[string]cyclone.RegistryAuth
}

// Register implements session.Attachable.
func (l *logins) Register(s *grpc.Server) { auth.RegisterAuthServer(s, l) }

// Credentials implements auth.AuthServer. A host without a login gets an empty
// answer, which means anonymous.
func (l *logins) Credentials(_ context.Context, r *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	host := strings.ToLower(r.Host)
	if host == "registry-1.docker.io" {
		host = "docker.io" // the one registry whose API has another host than its images' names
	}
	login := l.byHost[host]
	return &auth.CredentialsResponse{Username: login.Username, Secret: login.Password}, nil
}
