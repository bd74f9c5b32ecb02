@kubernetes @gate
Feature: Rolling back a release that wrote on a volume

  It has changed the form of a file on the volume of each pod. No rollout undoes that: the old code comes back, and
  then each file that it cannot read is put aside.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The old code can read its books
    When release "v2-new-book" is deployed over "v1-with-a-book"
    Then the trap is there
    When it is rolled back by its plan
    Then service is restored within 5 minutes
