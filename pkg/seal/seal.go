// Package seal keeps what must not stand in the store in clear: secrets,
// credentials, webhook keys. It encrypts with AES-256-GCM under the
// installation's one key; the purpose of a value is authenticated with it, so
// that a sealed value which is moved to another record cannot be opened there.
//
// It is not a key store: where the key comes from is config's business, and it
// hashes no passwords.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// KeySize is the length of the key in bytes.
const KeySize = 32

// version is the first byte of every sealed value, so that another form can
// be told from this one later.
const version = 1

var errSealed = errors.New("the sealed value cannot be opened: it was sealed with another encryption key, " +
	"for another purpose, or is damaged (check CYCLONE_ENCRYPTION_KEY)")

// Sealer is a cyclone.Sealer under one key. It is safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// New returns a Sealer under a key of KeySize bytes.
func New(key []byte) (*Sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("encryption key has %d bytes; it must have %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return &Sealer{aead}, nil
}

// NewKey makes a random key.
func NewKey() ([]byte, error) {
	key := make([]byte, KeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make encryption key: %w", err)
	}
	return key, nil
}

// ParseKey reads a key as it stands in the configuration: base64, standard or
// URL alphabet, with or without padding.
func ParseKey(text string) ([]byte, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	key, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(key) != KeySize {
		return nil, fmt.Errorf("not %d bytes in base64; make one with: openssl rand -base64 %d", KeySize, KeySize)
	}
	return key, nil
}

// Seal encrypts plain. The same plain text gives another result each time.
func (s *Sealer) Seal(purpose string, plain []byte) ([]byte, error) {
	head := make([]byte, 1+s.aead.NonceSize(), 1+s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	head[0] = version
	nonce := head[1:]
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("seal for %s: %w", purpose, err)
	}
	return s.aead.Seal(head, nonce, plain, []byte(purpose)), nil
}

// Open decrypts what Seal made for the same purpose under the same key.
func (s *Sealer) Open(purpose string, sealed []byte) ([]byte, error) {
	start := 1 + s.aead.NonceSize()
	if len(sealed) < start || sealed[0] != version {
		return nil, fmt.Errorf("open %s: %w", purpose, errSealed)
	}
	plain, err := s.aead.Open(nil, sealed[1:start], sealed[start:], []byte(purpose))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", purpose, errSealed)
	}
	return plain, nil
}
