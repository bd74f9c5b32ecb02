@kubernetes @gate
Feature: Rolling back by the manifests of before, with the proof that they hold

  The manifests of the old release are applied. Then they are applied again, and nothing may change: whoever applies
  them next will not bring anything back.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: To apply the manifests again changes nothing
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "applies-the-old-manifests"
    Then service is restored within 5 minutes
