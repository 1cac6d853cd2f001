package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

func errorsOf(all ...error) error { return errors.Join(all...) }

// check compares what the event says with what the outside says: the registry,
// the Kubernetes API and the mailbox.
func (d *demo) check(ctx context.Context, status cyclone.Status) error {
	var event cyclone.Event
	if err := d.system.Server.Call(ctx, "GET", "/api/v1/events/"+d.event, nil, &event); err != nil {
		return err
	}
	table(&event)
	if status != cyclone.StatusSuccess || event.Status != status {
		return fmt.Errorf("the event is %s (the stream said %s): %s", event.Status, status, event.Reason)
	}
	if event.LogLines != d.lines {
		return fmt.Errorf("the event has %d log lines, %d came over the websocket", event.LogLines, d.lines)
	}
	mail, err := d.system.Mail.Wait(ctx, "shop #1 success")
	if err != nil {
		return err
	}
	if err := d.checkMail(mail); err != nil {
		return fmt.Errorf("the mail %q: %w", mail.Subject(), err)
	}
	say("mail:       %s  (to %s, with the complete log)", mail.Subject(), strings.Join(mail.To, ", "))
	return d.checkImage(ctx, &event)
}

// checkImage asks the registry for the digest, and the cluster for the image.
func (d *demo) checkImage(ctx context.Context, e *cyclone.Event) error {
	digest, err := d.system.Registry.Digest(ctx, "shop", e.Image.Tag)
	if err != nil {
		return err
	}
	if digest == "" || digest != e.Image.Digest {
		return fmt.Errorf("the registry has shop:%s as %q, the event says %q", e.Image.Tag, digest, e.Image.Digest)
	}
	say("registry:   %s is %s", e.Image.Ref(), digest)
	image, ready, err := d.target.image(ctx, "shop", "shop", "web")
	if err != nil {
		return err
	}
	if image != e.Image.Name+"@"+digest {
		return fmt.Errorf("the Deployment's image is %q", image)
	}
	say("Deployment: shop/shop, container web: %s (%s)", image, ready)
	return nil
}

// checkMail looks for the complete log in the attachment.
func (d *demo) checkMail(m lab.Message) error {
	_, params, err := mime.ParseMediaType(m.Mail.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	parts := multipart.NewReader(bytes.NewReader(m.Body), params["boundary"])
	for {
		part, err := parts.NextPart()
		if err != nil {
			return errorsOf(errors.New("has no log attached"), err)
		}
		name := part.FileName()
		if !strings.Contains(name, ".log") {
			continue
		}
		return d.checkLog(part, strings.HasSuffix(name, ".gz"))
	}
}

// checkLog counts the lines of the attached log.
func (d *demo) checkLog(part *multipart.Part, packed bool) error {
	var text io.Reader = part
	if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "base64") {
		text = base64.NewDecoder(base64.StdEncoding, part)
	}
	if packed {
		plain, err := gzip.NewReader(text)
		if err != nil {
			return err
		}
		text = plain
	}
	all, err := io.ReadAll(text)
	if err != nil {
		return err
	}
	if n := int64(bytes.Count(all, []byte("\n"))); n != d.lines || !bytes.Contains(all, []byte("PASS: TestIntegration")) {
		return fmt.Errorf("the attached log has %d lines, the event %d", n, d.lines)
	}
	return nil
}
