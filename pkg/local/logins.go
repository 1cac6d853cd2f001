package local

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// dockerConfig is what of the docker client's settings is about logins.
type dockerConfig struct {
	Auths map[string]struct {
		Auth string `json:"auth"` // base64 of user:password
	} `json:"auths"`
	Store   string            `json:"credsStore"`  // keeps all
	Helpers map[string]string `json:"credHelpers"` // keeps that of a host
}

// hubKey is how the docker client calls the one registry whose host its images
// do not name.
const hubKey = "https://index.docker.io/v1/"

const helperTime = 10 * time.Second // for a program that keeps logins

// Logins returns the logins by registry host that `docker login` has left in a
// file, or with the programs that the file names. A file that is not there
// has none. A login that cannot be had is left out: whether it is needed shows
// when the registry refuses.
func Logins(ctx context.Context, file string) (map[string]cyclone.RegistryAuth, error) {
	text, err := os.ReadFile(file) //#nosec G304 -- the person's own settings
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var config dockerConfig
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil {
		return nil, fmt.Errorf("read the logins of docker: %w", err)
	}
	out := map[string]cyclone.RegistryAuth{}
	helpers := map[string]string{}
	for key, entry := range config.Auths {
		if login, ok := decodeLogin(entry.Auth); ok {
			out[registryHost(key)] = login
		} else if config.Store != "" {
			helpers[key] = config.Store
		}
	}
	for key, helper := range config.Helpers {
		helpers[key] = helper
	}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for key, helper := range helpers {
		asking.Go(func() {
			if login, ok := askHelper(ctx, helper, key); ok {
				mu.Lock()
				defer mu.Unlock()
				out[registryHost(key)] = login
			}
		})
	}
	asking.Wait()
	return out, nil
}

// registryHost is the host of a key: "https://host/v1/", or the host itself.
func registryHost(key string) string {
	if key == hubKey {
		return "docker.io"
	}
	host := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, _, _ = strings.Cut(host, "/")
	return host
}

func decodeLogin(auth string) (cyclone.RegistryAuth, bool) {
	text, err := base64.StdEncoding.DecodeString(auth)
	if err != nil {
		return cyclone.RegistryAuth{}, false
	}
	user, password, ok := strings.Cut(strings.TrimRight(string(text), "\x00"), ":")
	return cyclone.RegistryAuth{Username: user, Password: password}, ok && user != ""
}

// askHelper asks a program that keeps logins for one. A token in place of a
// password, which only the docker client can use, counts as none.
func askHelper(ctx context.Context, helper, key string) (cyclone.RegistryAuth, bool) {
	if strings.ContainsAny(helper, "/\\") {
		return cyclone.RegistryAuth{}, false // it is part of a program's name
	}
	ctx, cancel := context.WithTimeout(ctx, helperTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker-credential-"+helper, "get") //#nosec G204 -- named in the person's own settings
	cmd.Stdin = strings.NewReader(key)
	var out bytes.Buffer
	cmd.Stdout = &out
	var answer struct{ Username, Secret string }
	if cmd.Run() != nil || json.Unmarshal(out.Bytes(), &answer) != nil || answer.Username == "" || answer.Username == "<token>" {
		return cyclone.RegistryAuth{}, false
	}
	return cyclone.RegistryAuth{Username: answer.Username, Password: answer.Secret}, true
}
