package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/httpapi"
	"cyclone/pkg/metrics"
	"cyclone/pkg/seal"
	"cyclone/pkg/store/embedded"
	"cyclone/pkg/store/mongo"
)

// stores is a store, whichever it is.
type stores struct {
	projects   cyclone.ProjectStore
	events     cyclone.EventStore
	queue      cyclone.Queue
	logs       cyclone.LogStore
	files      cyclone.FileStore
	deliveries cyclone.DeliveryStore
	clusters   cyclone.ClusterStore
	secrets    cyclone.SecretStore
	settings   cyclone.SettingStore
	leases     cyclone.LeaseStore
	nodes      cyclone.NodeStore
	marks      cyclone.MarkStore
	census     cyclone.Census
	ping       func(context.Context) error
	close      func() error
	// disk is the space for the store's data, with the contents of files; nil
	// when it is elsewhere.
	disk func(context.Context) (cyclone.Disk, error)
	// shared is set when other servers may use the store at the same time.
	shared bool
}

func openStores(ctx context.Context, s *settings, m *metrics.Metrics, log *slog.Logger) (*stores, error) {
	if folder := s.folder(); folder != "" {
		st, err := embedded.Open(ctx, folder, m.StoreCall)
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		return &stores{
			projects: st.Projects, events: st.Events, queue: st.Events, logs: st.Logs, files: st.Files, deliveries: st.Deliveries,
			clusters: st.Clusters, secrets: st.Secrets, settings: st.Settings, leases: st.Leases, nodes: st.Nodes, marks: st.Marks,
			census: st, ping: st.Ping, close: st.Close, disk: st.Disk,
		}, nil
	}
	st, err := mongo.Open(ctx, s.store, m.StoreCall, log)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &stores{
		projects: st.Projects, events: st.Events, queue: st.Events, logs: st.Logs, files: st.Files, deliveries: st.Deliveries,
		clusters: st.Clusters, secrets: st.Secrets, settings: st.Settings, leases: st.Leases, nodes: st.Nodes, marks: st.Marks,
		census: st, ping: st.Ping, close: st.Close, shared: true,
	}, nil
}

// keyFile keeps the encryption key beside the embedded store.
const keyFile = "encryption.key"

// installation is what all servers on one store have in common.
type installation struct {
	id     string
	admin  httpapi.AdminToken
	sealer *seal.Sealer
}

func (p *program) installation(ctx context.Context, s *settings, st *stores) (*installation, error) {
	id, err := st.settings.SetOnce(ctx, "server-id", []byte(strings.ToLower(rand.Text()[:12])))
	if err != nil {
		return nil, fmt.Errorf("find out the installation's id: %w", err)
	}
	in := &installation{id: string(id)}
	if in.sealer, err = sealer(ctx, s, st); err != nil {
		return nil, err
	}
	in.admin, err = p.adminToken(ctx, s, st)
	return in, err
}

// keyProof is the setting that holds something sealed with the key of this store.
const keyProof = "key-proof"

// sealer makes the sealer, and refuses a key that is not the one with which
// what is stored was sealed.
func sealer(ctx context.Context, s *settings, st *stores) (*seal.Sealer, error) {
	key, err := encryptionKey(ctx, s, st)
	if err != nil {
		return nil, err
	}
	sealer, err := seal.New(key)
	if err != nil {
		return nil, err
	}
	proof, err := sealer.Seal("proof", []byte("cyclone"))
	if err != nil {
		return nil, err
	}
	if proof, err = st.settings.SetOnce(ctx, keyProof, proof); err != nil {
		return nil, fmt.Errorf("check the encryption key: %w", err)
	}
	if _, err := sealer.Open("proof", proof); err != nil {
		return nil, &settingsError{errors.New("encryption-key: is not the key that this store's credentials were encrypted with")}
	}
	return sealer, nil
}

// encryptionKey is the configured key, or the one in the data folder, which is
// made at the first start. Later it is never made again: a new one would open
// nothing that is stored.
func encryptionKey(ctx context.Context, s *settings, st *stores) ([]byte, error) {
	if s.encryptionKey != nil {
		return s.encryptionKey, nil
	}
	path := filepath.Join(s.folder(), keyFile)
	text, err := os.ReadFile(path)
	if err == nil {
		key, err := seal.ParseKey(string(text))
		if err != nil {
			return nil, &settingsError{fmt.Errorf("encryption-key: %s is damaged: %w; put it back from a backup", path, err)}
		}
		return key, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the encryption key: %w", err)
	}
	_, err = st.settings.Setting(ctx, keyProof)
	switch {
	case err == nil:
		return nil, &settingsError{fmt.Errorf("encryption-key: is not set, and there is no %s either; give the key that this store's credentials were encrypted with", path)}
	case !errors.Is(err, cyclone.ErrNotFound):
		return nil, fmt.Errorf("check the encryption key: %w", err)
	}
	key, err := seal.NewKey()
	if err != nil {
		return nil, err
	}
	if err := keep(path, base64.StdEncoding.EncodeToString(key)+"\n"); err != nil {
		return nil, fmt.Errorf("keep the encryption key: %w", err)
	}
	return key, nil
}

// keep writes a file that only its owner may read. It is complete and on the
// disk before it has its name, so that a crash leaves no half key.
func keep(path, text string) error {
	made := path + ".new"
	f, err := os.OpenFile(made, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(made, path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// adminToken is the hash of the administrator's token: the configured one, or
// the one made at the first start, which is printed then and never again.
func (p *program) adminToken(ctx context.Context, s *settings, st *stores) (httpapi.AdminToken, error) {
	const name = "admin-token-hash"
	if s.adminToken != "" {
		hash := httpapi.HashToken(s.adminToken)
		return hash, st.settings.Set(ctx, name, []byte(hex.EncodeToString(hash[:])))
	}
	token := "cyc_" + rand.Text()
	fresh := httpapi.HashToken(token)
	kept, err := st.settings.SetOnce(ctx, name, []byte(hex.EncodeToString(fresh[:])))
	if err != nil {
		return fresh, fmt.Errorf("keep the administrator's token: %w", err)
	}
	raw, err := hex.DecodeString(string(kept))
	if err != nil || len(raw) != sha256.Size {
		return fresh, fmt.Errorf("the stored hash of the administrator's token is damaged; set CYCLONE_ADMIN_TOKEN to replace it")
	}
	hash := httpapi.AdminToken(raw)
	if hash == fresh {
		if _, err := fmt.Fprintf(p.stdout, "The administrator's token, shown only now: %s\n", token); err != nil {
			return hash, fmt.Errorf("print the administrator's token: %w", err)
		}
	}
	return hash, nil
}
