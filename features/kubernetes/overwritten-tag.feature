@kubernetes @gate
Feature: Rolling back a release that was pushed over the tag of the old one

  A tag is a name that can be given to another image. Here the bad release was pushed over the tag of the old one: the
  old image gets its tag back, and then the pods are started anew.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The tag means the old image again
    When release "v2-pushed-over-v1" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
